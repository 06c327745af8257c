// The commands that a host declares as jobs, and what a caller may put into them: whole arguments, each checked by a pattern. Nothing else of
// a command line comes from outside, and there is no shell.

import { isAbsolute } from 'node:path';
import { starlaneError } from '../../../errors.js';

/** What a value from outside has to look like. */
export interface JobParameter {
  /** A regular expression of the host, which the whole value has to match. */
  readonly pattern: RegExp;
  /** Taken when the caller gives none; undefined: it must be given. */
  readonly byDefault: string | undefined;
  /** Whether a value may begin with a dash, as options of programs do. */
  readonly mayBeOption: boolean;
}

/** One declared command. */
export interface JobCommand {
  readonly name: string;
  /** The program and its arguments; a `{name}` stands for a parameter. */
  readonly run: readonly string[];
  readonly params: ReadonlyMap<string, JobParameter>;
  /** Variables that the program gets. */
  readonly env: Readonly<Record<string, string>>;
  /** Variables that a caller may set. */
  readonly callerEnv: ReadonlyMap<string, JobParameter>;
  readonly cwd: string | undefined;
  /** The user and the group that the program runs as; undefined: those of the agent. */
  readonly user: { readonly uid: number; readonly gid: number } | undefined;
  /** Whether the program reads input of the caller. */
  readonly stdin: boolean;
  readonly timeoutMs: number;
  /** Between SIGTERM and SIGKILL. */
  readonly graceMs: number;
  /** How long a job with open input may be without its caller. */
  readonly inputMs: number;
  /** Of both outputs together. */
  readonly maxOutputBytes: number;
  /** Jobs of this command at once. */
  readonly maxRunning: number;
  /** How long an ended job is kept. */
  readonly keepMs: number;
  /** Patterns of the members that may start it; undefined: those with the right to start jobs. */
  readonly allow: readonly string[] | undefined;
}

export type JobCommands = ReadonlyMap<string, JobCommand>;

/** What a caller asks for. */
export interface JobRequest {
  readonly command: string;
  readonly params: Readonly<Record<string, string>>;
  readonly env: Readonly<Record<string, string>>;
  /** Whether the caller would send input, if the command takes any. Without it the program reads an empty one. */
  readonly input: boolean;
}

/** A program to run. */
export interface JobProgram {
  readonly argv: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string>>;
}

/** Of one value. */
export const MAX_VALUE_LENGTH = 4_096;
const NAME = /^[A-Za-z][\w-]{0,62}$/;
const VARIABLE = /^[A-Za-z_]\w{0,126}$/;
const PLACEHOLDER = /^\{([A-Za-z][\w-]*)\}$/;
const LITERAL = /^\{(\{[A-Za-z][\w-]*\})\}$/;

export function isCommandName(name: string): boolean {
  return NAME.test(name);
}

export function isVariableName(name: string): boolean {
  return VARIABLE.test(name) && !name.toUpperCase().startsWith('STARLANE_');
}

/** Returns the faults of a declaration in words, for the operator of the host. Empty for none. */
export function faultsOf({ name, run, params, cwd }: JobCommand): string[] {
  const faults: string[] = [];
  if (!NAME.test(name))
    faults.push('a name has letters, digits, _ and -, begins with a letter, and has 63 characters at most');
  if (run.length === 0 || !isAbsolute(run[0])) faults.push('run must begin with the absolute path of a program');
  if (cwd !== undefined && !isAbsolute(cwd)) faults.push('cwd must be an absolute path');
  const used = new Set<string>();
  for (const argument of run) {
    if (argument.includes('\0')) faults.push('an argument has a character of code 0');
    const placeholder = PLACEHOLDER.exec(argument)?.[1];
    if (placeholder !== undefined) {
      if (params.has(placeholder)) used.add(placeholder);
      else faults.push(`${argument} is no declared parameter; to pass it on as it is, write {${argument}}`);
      continue;
    }
    if (LITERAL.test(argument)) continue;
    const part = [...params.keys()].find((param) => argument.includes(`{${param}}`));
    if (part !== undefined) faults.push(`{${part}} must be a whole argument, and not a part of ${argument}`);
  }
  for (const [param, { byDefault, ...rest }] of params) {
    if (!NAME.test(param)) faults.push(`${param} cannot be the name of a parameter`);
    if (!used.has(param)) faults.push(`the parameter ${param} is not used`);
    if (byDefault !== undefined && !fits(byDefault, { byDefault, ...rest })) {
      faults.push(`the default of ${param} does not match its pattern`);
    }
  }
  return faults;
}

/** Returns the pattern for a text of the configuration: the whole value has to match. @throws SyntaxError */
export function wholePattern(text: string): RegExp {
  // Alone first, so that a parenthesis too many cannot end the group around it.
  new RegExp(text, 'u');
  return new RegExp(`^(?:${text})$`, 'u');
}

/** Returns the program for a request. `inherited`: what it gets of the agent's own environment. @throws ERR_STARLANE_ARGUMENT with what does not fit */
export function programFor(
  command: JobCommand,
  { params, env }: JobRequest,
  inherited: Readonly<Record<string, string>>,
): JobProgram {
  const refuse = (why: string): never => {
    throw starlaneError('ERR_STARLANE_ARGUMENT', `${command.name}: ${why}`);
  };
  for (const name of Object.keys(params)) {
    if (!command.params.has(name)) refuse(`it has no parameter ${shown(name)}`);
  }
  for (const name of Object.keys(env)) {
    if (!command.callerEnv.has(name)) refuse(`the variable ${shown(name)} cannot be set`);
  }
  const values = new Map<string, string>();
  for (const [name, declared] of command.params) {
    const value = Object.hasOwn(params, name) ? params[name] : declared.byDefault;
    if (value === undefined) return refuse(`the parameter ${name} is missing`);
    if (!fits(value, declared)) return refuse(`the value of ${name} is not allowed`);
    values.set(name, value);
  }
  const variables: Record<string, string> = { ...inherited, ...command.env };
  for (const [name, declared] of command.callerEnv) {
    const value = Object.hasOwn(env, name) ? env[name] : declared.byDefault;
    if (value === undefined) continue;
    if (!fits(value, declared)) return refuse(`the value of ${name} is not allowed`);
    variables[name] = value;
  }
  const [file, ...rest] = command.run;
  const argv = rest.map((argument) => {
    const name = PLACEHOLDER.exec(argument)?.[1];
    if (name !== undefined) return values.get(name) as string;
    return LITERAL.exec(argument)?.[1] ?? argument;
  });
  return { argv: [file, ...argv], env: variables };
}

function fits(value: string, { pattern, mayBeOption }: JobParameter): boolean {
  // The length first: a pattern may take long for a long text.
  if (typeof value !== 'string' || value.length > MAX_VALUE_LENGTH || value.includes('\0')) return false;
  if (value.startsWith('-') && !mayBeOption) return false;
  return pattern.test(value);
}

/** Names in errors are of the caller, and may be of any length. */
function shown(name: string): string {
  return JSON.stringify(name.slice(0, 64));
}
