// The configuration file, with what the command line and the environment put on top of it.

import type { Command } from '../command.js';
import type { Flags, ValuesOf } from '../flags.js';
import { resolveValues } from '../values.js';
import { type ConfigFile, NO_FILE, readConfigFile } from './file.js';

type Environment = Readonly<Record<string, string | undefined>>;

export class Config {
  private constructor(
    private readonly environment: Environment,
    private readonly commandLine: Readonly<Record<string, unknown>>,
    private readonly find: () => string | undefined,
    private file: ConfigFile,
    /** Flags on the command line that belong to the command, whatever the names of others. */
    private readonly own: readonly string[],
  ) {}

  /**
   * Reads the file at the path that `find` returns; without one there is no file.
   * @throws Failure
   */
  static async read(
    environment: Environment,
    commandLine: Readonly<Record<string, unknown>>,
    find: () => string | undefined,
    own: readonly string[] = [],
  ): Promise<Config> {
    const path = find();
    const file = path === undefined ? NO_FILE : await readConfigFile(path);
    return new Config(environment, commandLine, find, file, own);
  }

  /** The path of the file, undefined without one. */
  get path(): string | undefined {
    return this.file.path;
  }

  /** Reads the file again. If it has a fault, everything stays as it is. @throws Failure */
  async reload(): Promise<void> {
    const path = this.find();
    this.file = path === undefined ? NO_FILE : await readConfigFile(path);
  }

  /** Returns the values of flags that belong to no command. */
  shared<F extends Flags>(flags: F): ValuesOf<F> {
    const { environment, own } = this;
    const commandLine = Object.fromEntries(Object.entries(this.commandLine).filter(([name]) => !own.includes(name)));
    return resolveValues('', flags, { commandLine, environment, section: this.file.top, where: this.file.where });
  }

  /** Returns the values of the flags of a command: of its section, or of the entry `key` in it. */
  valuesOf(command: Command, key?: string): ValuesOf<Flags> {
    const { environment, commandLine } = this;
    return resolveValues(command.name, command.flags, this.sources(command, key, environment, commandLine));
  }

  /** Returns the values that `up` uses, for which the command line has no flags. */
  fileValuesOf(command: Command, key?: string): ValuesOf<Flags> {
    return resolveValues(command.name, command.flags, this.sources(command, key, this.environment, {}));
  }

  /** Returns the keys of the entries of a section, or one empty key for a section of flags; none if it is missing. */
  keysOf(command: Command): readonly string[] {
    const section = this.file.sections.get(command.name);
    if (section === undefined) return [];
    return command.section === 'entries' ? Object.keys(section) : [''];
  }

  private sources(
    command: Command,
    key: string | undefined,
    environment: Environment,
    commandLine: Readonly<Record<string, unknown>>,
  ) {
    const section = this.file.sections.get(command.name) ?? {};
    if (command.section !== 'entries')
      return { commandLine, environment, section, where: `${this.file.where}${command.name}.` };
    const entry = key !== undefined && Object.hasOwn(section, key) ? section[key] : undefined;
    return {
      commandLine,
      environment,
      section: (entry ?? {}) as Record<string, unknown>,
      where: `${this.file.where}${command.name}.${key}.`,
    };
  }
}
