// Reads the command line, finds the subcommand, and runs it.

import { existsSync } from 'node:fs';
import { Command as CommanderCommand, CommanderError, Option } from 'commander';
import { VERSION } from '../util/version.js';
import { CATALOG, type CatalogEntry } from './catalog.js';
import type { Command, Context } from './command.js';
import { Config } from './config/config.js';
import { ExitCode, usage } from './failure.js';
import { type Flag, type Flags, kebab, variableOf } from './flags.js';
import { createLog, type LogLevel } from './log.js';
import { Output } from './output.js';
import { nodeFlagsOf } from './run/node-flags.js';
import { SHARED_FLAGS } from './shared-flags.js';

export interface Io {
  readonly stdin: NodeJS.ReadStream;
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

const DEFAULT_FILE = './starlane.yaml';

/** Runs a command line, without the names of Node and of the script. Returns the exit code. @throws Failure, or an error with a code */
export async function runProgram(argv: readonly string[], io: Io): Promise<number> {
  const separator = argv.indexOf('--');
  const given = separator < 0 ? argv : argv.slice(0, separator);
  // As git and docker have it.
  const own = given[0] === 'help' ? [...given.slice(1, 2), '--help'] : given;
  const behind = separator < 0 ? undefined : argv.slice(separator + 1);
  const wanted = CATALOG.find(({ name }) => own.includes(name) && isCommandAt(own, name));
  const command = await wanted?.load();
  let code: number | undefined;
  const program = programOf(io);
  for (const entry of CATALOG) {
    if (entry !== wanted || command === undefined) addStub(program, entry);
    else {
      addCommand(program, command, entry.group, async (chosen, args, given) => {
        const context = await contextOf(io, given, behind, chosen);
        const key = chosen.section === 'entries' ? args[0] : undefined;
        code = (await chosen.run(context, args, context.config.valuesOf(chosen, key))) ?? ExitCode.OK;
      });
    }
  }
  try {
    if (own.length === 0) {
      program.outputHelp();
      return ExitCode.USAGE;
    }
    await program.parseAsync([...own], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return ExitCode.OK;
    throw usage(`${wordsOf(error)}; see ${wanted === undefined ? 'starlane' : `starlane ${wanted.name}`} --help`);
  }
  return code ?? ExitCode.OK;
}

/** Whether the name is where a command stands: not the value of a flag in front of it. */
function isCommandAt(argv: readonly string[], name: string): boolean {
  const words = argv.slice(0, argv.indexOf(name));
  return words.every((word, at) => word.startsWith('-') || (at > 0 && takesValue(words[at - 1])));
}

function takesValue(word: string): boolean {
  return Object.entries(SHARED_FLAGS as Flags).some(
    ([name, { kind, short }]) => kind !== 'boolean' && (word === `--${kebab(name)}` || word === `-${short}`),
  );
}

function programOf(io: Io): CommanderCommand {
  const program = new CommanderCommand('starlane')
    .description('Connects programs by service name instead of by address.')
    .usage('COMMAND [ARGUMENTS] [FLAGS]')
    .version(VERSION, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help, or that of a command')
    .helpCommand(false)
    .showSuggestionAfterError(true)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      // What is wrong is one line, see wordsOf.
      writeErr: () => {},
    })
    .addHelpText(
      'after',
      `
Two machines, without a file to edit:
  starlane publish web --port 3000          prints a token
  starlane forward 3001:web --join TOKEN    on the other machine: http://localhost:3001`,
    );
  program.configureHelp({ showGlobalOptions: false, subcommandTerm: (command) => command.name() });
  addFlags(program, '', SHARED_FLAGS, true);
  return program;
}

/** For the list of commands, and for suggestions. */
function addStub(program: CommanderCommand, { name, summary, group }: CatalogEntry): void {
  program.command(name).description(summary).helpGroup(group);
}

type Action = (command: Command, args: readonly string[], given: Readonly<Record<string, unknown>>) => Promise<void>;

function addCommand(parent: CommanderCommand, definition: Command, group: string, action: Action): void {
  const { name, summary, description, args = [], flags, examples, usesNode, subcommands = [] } = definition;
  const command = parent
    .command(name.slice(name.lastIndexOf(' ') + 1))
    .summary(summary)
    .helpGroup(group);
  command.description(description === undefined ? `${sentence(summary)}.` : `${sentence(summary)}. ${description}`);
  for (const { name: argument, about, isOptional, isVariadic } of args) {
    const dots = isVariadic ? '...' : '';
    command.argument(isOptional ? `[${argument}${dots}]` : `<${argument}${dots}>`, about);
  }
  addFlags(command, name, flags);
  // A flag of the command goes before one of the node with the same name.
  const nodeFlags = Object.fromEntries(
    Object.entries(nodeFlagsOf(usesNode)).filter(([flag]) => !Object.hasOwn(flags, flag)),
  );
  if (Object.keys(nodeFlags).length > 0) addFlags(command.optionsGroup('Node:'), '', nodeFlags);
  addFlags(command.optionsGroup('Output and files:'), '', SHARED_FLAGS);
  const width = Math.max(...examples.map(({ line }) => line.length)) + 2;
  const lines = examples.map(({ line, about }) => `  ${line.padEnd(width)}${about}`);
  command.addHelpText('after', `\nExamples:\n${lines.join('\n')}`);
  command.action((...parameters: unknown[]) => {
    const given = (parameters[parameters.length - 1] as CommanderCommand).optsWithGlobals();
    const texts = parameters
      .slice(0, -2)
      .flat()
      .filter((text): text is string => typeof text === 'string');
    return action(definition, texts, given);
  });
  command.helpCommand(false);
  for (const below of subcommands) addCommand(command, below, 'Commands:', action);
}

function addFlags(command: CommanderCommand, of: string, flags: Flags, isHidden = false): void {
  for (const [name, flag] of Object.entries(flags)) {
    for (const option of optionsOf(of, name, flag)) {
      if (isHidden) option.hideHelp();
      command.addOption(option);
    }
  }
}

function optionsOf(command: string, name: string, flag: Flag): Option[] {
  const {
    kind,
    short,
    value = kind === 'duration' ? 'TIME' : kind === 'integer' ? 'N' : 'TEXT',
    about,
    otherwise,
    choices,
  } = flag;
  const words = [about];
  if (choices !== undefined) words.push(`: ${choices.join(', ')}`);
  if (otherwise !== undefined && kind !== 'boolean') words.push(` (default ${otherwise})`);
  words.push(` [${variableOf(command, name, flag)}]`);
  const dash = short === undefined ? '' : `-${short}, `;
  if (kind === 'boolean') {
    const on = new Option(`${dash}--${kebab(name)}`, words.join(''));
    const off = new Option(
      `--no-${kebab(name)}`,
      flag.aboutNot === undefined
        ? `not: ${words.join('')}`
        : `${flag.aboutNot} [${variableOf(command, name, flag)}=false]`,
    );
    return otherwise === 'true' ? [on.hideHelp(), off] : [on, off.hideHelp()];
  }
  const option = new Option(`${dash}--${kebab(name)} <${value}>`, words.join(''));
  if (kind === 'list') option.argParser((text: string, before: string[] | undefined) => [...(before ?? []), text]);
  return [option];
}

async function contextOf(
  io: Io,
  commandLine: Readonly<Record<string, unknown>>,
  program: readonly string[] | undefined,
  command: Command,
): Promise<Context> {
  const { environment, stdin, stdout, stderr } = io;
  const find = (): string | undefined => {
    const named = (commandLine['config'] as string | undefined) ?? environment['STARLANE_CONFIG'];
    if (named !== undefined && named !== '') return named;
    return existsSync(DEFAULT_FILE) ? DEFAULT_FILE : undefined;
  };
  const config = await Config.read(environment, commandLine, find, Object.keys(command.flags));
  const { json, log, logLevel } = config.shared(SHARED_FLAGS);
  return {
    output: new Output({ isJson: json === true, stdout, stderr, environment }),
    log: createLog({
      format: (log ?? 'text') as 'text' | 'json',
      level: (logLevel ?? 'info') as LogLevel,
      stream: stderr,
    }),
    config,
    environment,
    stdin,
    stdout,
    program,
    commandLine,
  };
}

/** Returns what commander says without its prefix, in one line. */
function wordsOf({ message }: CommanderError): string {
  return message
    .replace(/^error: /, '')
    .replace(/\s*\n\s*/g, ' ')
    .replace(/\(Did you mean (.*)\?\)/, '(did you mean $1?)');
}

function sentence(text: string): string {
  return text[0].toUpperCase() + text.slice(1);
}
