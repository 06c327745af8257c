// What an API is: a name, a version, and numbered commands with schemas. Both ends use one definition.

import { isServiceName } from '../../address.js';
import { type StarlaneError, starlaneError } from '../../errors.js';
import type { HandlerCall } from './handler-call.js';
import { isSchema, type SchemaInput, type SchemaOutput, type StandardSchema } from './standard-schema.js';

/** Any value that JSON can hold, bytes, or nothing. */
// biome-ignore lint/suspicious/noExplicitAny: what has no schema is what both ends say it is.
export type Unchecked = any;

/** An input or output of many items. Made by {@link stream}. */
export interface Streamed<S = unknown> {
  readonly stream: true;
  /** Of each item; undefined for any JSON. */
  readonly schema: S | undefined;
}

/** Returns the declaration of an input or output that is a stream of items, each of which fits the schema: an async iterable at both ends. */
export function stream<S extends StandardSchema>(schema: S): Streamed<S>;
export function stream(): Streamed<undefined>;
export function stream(schema?: StandardSchema): Streamed {
  return { stream: true, schema };
}

/** What `input` and `output` of a command may be. */
export type Shape = StandardSchema | Streamed<StandardSchema | undefined> | undefined;

/** What one end gives: the type before the schema has parsed it. */
export type Given<S> = S extends StandardSchema
  ? SchemaInput<S>
  : S extends Streamed<infer Item>
    ? AsyncIterable<Given<Item>> | Iterable<Given<Item>>
    : Unchecked;

/** What the other end gets: the type after the schema has parsed it. */
export type Got<S> = S extends StandardSchema
  ? SchemaOutput<S>
  : S extends Streamed<infer Item>
    ? AsyncIterable<Got<Item>>
    : Unchecked;

/** Runs for each call, with the input as its schema has parsed it. For an output that is a stream: an async generator, as a rule. */
export type Handler<I, O> = (input: Got<I>, call: HandlerCall) => Given<O> | Promise<Given<O>>;

/** What a command has besides its schemas. */
export interface CommandTexts {
  /**
   * What names the command on the wire: 1 to 4294967295. A number keeps its name and its meaning for good, and is not used again after
   * its command has gone.
   */
  readonly number: number;
  /** For people, and for models that choose among tools, up to 2000 characters. */
  readonly description?: string | undefined;
  /** Whether a second run does no harm: then a call whose outcome is unknown is repeated within its time. Default false. */
  readonly idempotent?: boolean | undefined;
}

/** One command of an API. */
export interface Command<I = unknown, O = unknown> extends CommandTexts {
  /** What it takes: a schema, or {@link stream} of one. Default: any JSON value, a text, bytes or nothing. */
  readonly input?: I | undefined;
  /** What it returns, likewise. */
  readonly output?: O | undefined;
  /** Runs for each call. It may be left to `serveApi`, so that clients need not load it. */
  // biome-ignore lint/suspicious/noExplicitAny: the function takes what the schema says.
  readonly handler?: ((input: any, call: HandlerCall) => unknown) | undefined;
}

/** The commands of an API by their names: 1 to 64 letters, digits, `_` and `-`, the first one a letter. */
export type Commands = Readonly<Record<string, Command>>;

/** What `defineApi` returns: the same for clients and servers. */
export interface Api<C extends Commands = Commands, N extends string = string> {
  /** The name of the service under which the API is served. */
  readonly name: N;
  /** One line for people. */
  readonly short: string;
  /** More for people. */
  readonly long: string;
  /** Which commands there are, for people. */
  readonly version: string;
  /** By their names. */
  readonly commands: C;
}

/** The type of the schema of a key, where there is one. */
type At<T, K> = K extends keyof T ? T[K] : unknown;

/** What a definition has besides its commands. */
export interface ApiTexts<N extends string = string> {
  /** The name of the service under which the API is served. */
  readonly name: N;
  /** One line for people, up to 200 characters. Default empty. */
  readonly short?: string | undefined;
  /** More for people, up to 10000 characters. Default empty. */
  readonly long?: string | undefined;
  /** 1 to 64 letters, digits and `. _ + -`, such as `1.4.0`. It says which commands there are, for people; docs/apis.md has the rules. */
  readonly version: string;
}

const definitions = new WeakSet<object>();
const MAX_COMMANDS = 1_000;
const MAX_NUMBER = 0xffff_ffff;
const MAX_SHORT = 200;
const MAX_LONG = 10_000;
const MAX_DESCRIPTION = 2_000;
const VERSION = /^[A-Za-z0-9._+-]{1,64}$/;
/** Names become methods of a client, words of a command line, and parts of a path. */
const NAME = /^[A-Za-z][A-Za-z0-9_-]{0,63}$/;
/** What a client has itself, and what JavaScript asks of every object. */
const RESERVED: ReadonlySet<string> = new Set([
  'call',
  'describe',
  'then',
  'constructor',
  'prototype',
  'toJSON',
  'toString',
  'valueOf',
]);

/**
 * Returns a checked definition of an API. Clients and servers use the same one: it says what a command takes and returns, and both ends check
 * that. Schemas are of any library that follows Standard Schema 1: zod, valibot, arktype and others. A command without a schema takes or returns
 * any JSON value, text or bytes.
 * @throws ERR_STARLANE_API
 */
export function defineApi<const N extends string, I, O>(
  definition: ApiTexts<N> & {
    readonly commands: {
      readonly [K in keyof I]: CommandTexts & {
        readonly input?: (I[K] & Shape) | undefined;
        readonly handler?:
          | ((input: Got<I[K]>, call: HandlerCall) => Given<At<O, K>> | Promise<Given<At<O, K>>>)
          | undefined;
      };
    } & { readonly [K in keyof O]: { readonly output?: (O[K] & Shape) | undefined } };
  },
): Api<{ readonly [K in keyof I & keyof O & string]: Command<I[K], O[K]> }, N> {
  const { name, short = '', long = '', version, commands } = definition;
  if (typeof name !== 'string' || !isServiceName(name))
    throw apiError(`name: ${shown(name)} is not the name of a service`);
  checkText('short', short, MAX_SHORT);
  checkText('long', long, MAX_LONG);
  if (typeof version !== 'string' || !VERSION.test(version)) {
    throw apiError('version: 1 to 64 letters, digits and . _ + - are needed');
  }
  if (typeof commands !== 'object' || commands === null) throw apiError('commands: an object is needed');
  const api = Object.freeze({ name, short, long, version, commands: checkedCommands(commands as Commands) });
  definitions.add(api);
  return api as never;
}

/** Whether `defineApi` has made it. */
export function isDefinition(value: unknown): value is Api {
  return typeof value === 'object' && value !== null && definitions.has(value);
}

/** @param call what the user has called, for the error @throws ERR_STARLANE_ARGUMENT for what is neither a definition nor a self-description */
export function checkApi(api: unknown, call: string): void {
  const { commands } = (api ?? {}) as Partial<Api>;
  if (typeof commands === 'object' && commands !== null) return;
  throw starlaneError('ERR_STARLANE_ARGUMENT', `${call}: the API must be what defineApi() returns`);
}

/** Whether a name can be that of a command. */
export function isCommandName(name: unknown): name is string {
  return typeof name === 'string' && NAME.test(name) && !RESERVED.has(name);
}

/** Whether a value is a number of a command. */
export function isCommandNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= MAX_NUMBER;
}

/** Returns the schema of an input or output, of each item if it is a stream. */
export function schemaOf(shape: unknown): StandardSchema | undefined {
  if (isStreamed(shape)) return shape.schema as StandardSchema | undefined;
  return shape as StandardSchema | undefined;
}

/** Whether an input or output is a stream. */
export function isStreamed(shape: unknown): shape is Streamed {
  return typeof shape === 'object' && shape !== null && (shape as Partial<Streamed>).stream === true;
}

/** Returns the error for a definition. */
export function apiError(detail: string, cause?: unknown): StarlaneError {
  return starlaneError('ERR_STARLANE_API', detail, cause);
}

function checkedCommands(commands: Commands): Commands {
  const entries = Object.entries(commands);
  if (entries.length > MAX_COMMANDS) throw apiError(`commands: at most ${MAX_COMMANDS}`);
  const numbers = new Map<number, string>();
  const checked: Record<string, Command> = Object.create(null);
  for (const [name, command] of entries) {
    if (!isCommandName(name)) throw apiError(`${shown(name)} cannot be the name of a command`);
    if (typeof command !== 'object' || command === null) throw apiError(`${name}: an object is needed`);
    const { number, description, idempotent, input, output, handler } = command;
    if (!isCommandNumber(number)) throw apiError(`${name}: number must be an integer from 1 to ${MAX_NUMBER}`);
    const other = numbers.get(number);
    if (other !== undefined) throw apiError(`${name}: ${other} has the number ${number} already`);
    numbers.set(number, name);
    checkText(`${name}: description`, description, MAX_DESCRIPTION);
    if (idempotent !== undefined && typeof idempotent !== 'boolean') {
      throw apiError(`${name}: idempotent must be true or false`);
    }
    if (handler !== undefined && typeof handler !== 'function') throw apiError(`${name}: handler must be a function`);
    checkShape(`${name}: input`, input);
    checkShape(`${name}: output`, output);
    checked[name] = Object.freeze({ ...command });
  }
  return Object.freeze(checked);
}

function checkText(where: string, text: unknown, limit: number): void {
  if (text === undefined || (typeof text === 'string' && text.length <= limit)) return;
  throw apiError(`${where} must be a text of up to ${limit} characters`);
}

function checkShape(where: string, shape: unknown): void {
  const schema = schemaOf(shape);
  if (schema === undefined || isSchema(schema)) return;
  throw apiError(`${where} must be a schema that follows Standard Schema 1, or stream(schema)`);
}

function shown(value: unknown): string {
  return String(JSON.stringify(value)).slice(0, 100);
}
