// What a subcommand is: its flags, its help, and what it does. One small file for each, listed in catalog.ts.

import type { Config } from './config/config.js';
import type { Flags, ValuesOf } from './flags.js';
import type { Log } from './log.js';
import type { Output } from './output.js';
import type { NodeFlag } from './run/node-flags.js';
import type { Task } from './run/task.js';

/** What every command has at hand. */
export interface Context {
  readonly output: Output;
  readonly log: Log;
  readonly config: Config;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly stdin: NodeJS.ReadStream;
  readonly stdout: NodeJS.WriteStream;
  /** What comes behind `--` on the command line; undefined without it. */
  readonly program: readonly string[] | undefined;
  /** What commander has read, for {@link Config.reload}. */
  readonly commandLine: Readonly<Record<string, unknown>>;
}

export interface Argument {
  /** Upper case in the help. */
  readonly name: string;
  readonly about: string;
  readonly isOptional?: boolean;
  /** The last one may take all that is left. */
  readonly isVariadic?: boolean;
}

export interface Example {
  readonly line: string;
  readonly about: string;
}

export interface CommandDefinition<F extends Flags> {
  readonly name: string;
  /** One line for the list of commands; begins with a small letter. */
  readonly summary: string;
  /** More, for its own help. */
  readonly description?: string;
  readonly args?: readonly Argument[];
  readonly flags: F;
  /** Whether it takes the flags of nodes as well, or which of them have an effect. Default false. */
  readonly usesNode?: boolean | readonly NodeFlag[];
  /** Two at least. */
  readonly examples: readonly Example[];
  /** Commands below it, whose names begin with its own: `deploy status`. They have no section in the file. */
  readonly subcommands?: readonly Command[];
  /**
   * The section of the configuration file: flags of the command (`gateway:`), or named entries, each with flags (`publish: { web: ... }`).
   * Default 'flags'.
   */
  readonly section?: 'flags' | 'entries';
  /** What `starlane up` does for the section or for an entry of it. @throws Failure */
  task?(key: string, values: ValuesOf<F>, context: Context): Task;
  /** Returns the exit code, or nothing for 0. @throws Failure, or an error with a code */
  run(context: Context, args: readonly string[], values: ValuesOf<F>): Promise<number | undefined>;
}

/** A command whose flags nobody needs to know. */
export type Command = CommandDefinition<Flags>;

export function defineCommand<const F extends Flags>(definition: CommandDefinition<F>): Command {
  return definition as unknown as Command;
}
