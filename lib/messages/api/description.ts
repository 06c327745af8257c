// The self-description of an API as plain JSON: what command 0 of each API answers, for clients that have no definition of it.

import { nodeCrypto } from '../../util/runtime/builtins.js';
import {
  type Api,
  apiError,
  type Command,
  isCommandName,
  isCommandNumber,
  isStreamed,
  schemaOf,
} from './definition.js';
import type { StandardSchema } from './standard-schema.js';

/** The command that every API has: it answers the self-description. */
export const DESCRIBE = 0;
/** What a self-description may have as JSON. Where it is longer, it goes without schemas. */
export const MAX_DESCRIPTION_BYTES = 256 * 1024;

/** A schema as JSON Schema, draft 2020-12. */
export type JsonSchema = Readonly<Record<string, unknown>>;

/** An input or output as an API describes it. */
export interface ShapeDescription {
  /** Whether it is a stream of items. */
  readonly stream: boolean;
  /** That of the value, or of each item; missing where there is none, or the library of the schema has no JSON Schema. */
  readonly schema?: JsonSchema | undefined;
}

/** A command as an API describes it. */
export interface CommandDescription {
  /** What names the command on the wire. */
  readonly number: number;
  /** For people, and for models that choose among tools; may be empty. */
  readonly description: string;
  /** Whether a second run does no harm. */
  readonly idempotent: boolean;
  /** What it takes. */
  readonly input: ShapeDescription;
  /** What it returns. */
  readonly output: ShapeDescription;
}

/** An API as it describes itself. */
export interface ApiDescription {
  /** The name of the service. */
  readonly name: string;
  /** One line for people; may be empty. */
  readonly short: string;
  /** More for people; may be empty. */
  readonly long: string;
  /** Which commands there are, for people. */
  readonly version: string;
  /** By their names. */
  readonly commands: Readonly<Record<string, CommandDescription>>;
}

const MAX_COMMANDS = 1_000;
const MAX_TEXT = 10_000;
const described = new WeakMap<object, ApiDescription>();

/** Returns the self-description of a definition; the same object each time. */
export function describeApi(api: Api): ApiDescription {
  let made = described.get(api);
  if (made === undefined) {
    made = describe(api, true);
    if (Buffer.byteLength(JSON.stringify(made)) > MAX_DESCRIPTION_BYTES) made = describe(api, false);
    described.set(api, made);
  }
  return made;
}

/**
 * Returns a short text that differs between APIs whose commands differ in number, name, or in what is a stream. It goes into the directory, so
 * that clients see without a call whether they have to compare.
 */
export function digestOf({ commands }: ApiDescription): string {
  const lines = Object.entries(commands)
    .sort(([, a], [, b]) => a.number - b.number)
    .map(([name, { number, input, output }]) => `${number} ${name} ${input.stream} ${output.stream}\n`);
  return nodeCrypto().createHash('sha256').update(lines.join('')).digest('base64url').slice(0, 16);
}

/** Returns the checked description of another node. @throws ERR_STARLANE_API */
export function readDescription(value: unknown): ApiDescription {
  const { name, short, long, version, commands } = objectOf(value, 'the description');
  const entries = Object.entries(objectOf(commands, 'commands'));
  if (entries.length > MAX_COMMANDS) throw apiError(`more than ${MAX_COMMANDS} commands are described`);
  const read: Record<string, CommandDescription> = Object.create(null);
  for (const [key, given] of entries) {
    const { number, description, idempotent, input, output } = objectOf(given, 'a command');
    // What a newer version may have that this one does not know is left out.
    if (!isCommandName(key) || !isCommandNumber(number)) continue;
    read[key] = {
      number,
      description: textOf(description),
      idempotent: idempotent === true,
      input: readShape(input),
      output: readShape(output),
    };
  }
  return { name: textOf(name), short: textOf(short), long: textOf(long), version: textOf(version), commands: read };
}

function describe({ name, short, long, version, commands }: Api, withSchemas: boolean): ApiDescription {
  const of = (shape: unknown): ShapeDescription => {
    const schema = withSchemas ? jsonSchemaOf(schemaOf(shape)) : undefined;
    return { stream: isStreamed(shape), ...(schema === undefined ? {} : { schema }) };
  };
  const entries = Object.entries(commands).map(
    ([key, { number, description = '', idempotent = false, input, output }]: [string, Command]) =>
      [key, { number, description, idempotent, input: of(input), output: of(output) }] as const,
  );
  return { name, short, long, version, commands: Object.fromEntries(entries) };
}

/** Returns what travels as JSON Schema: that is what a schema takes, for outputs as well. */
function jsonSchemaOf(schema: StandardSchema | undefined): JsonSchema | undefined {
  try {
    const made = schema?.['~standard'].jsonSchema?.input({ target: 'draft-2020-12' });
    if (typeof made !== 'object' || made === null) return undefined;
    // As it is sent: without what JSON cannot hold.
    return JSON.parse(JSON.stringify(made)) as JsonSchema;
  } catch {
    // The library says so where a schema has no equivalent.
    return undefined;
  }
}

function readShape(value: unknown): ShapeDescription {
  const { stream, schema } = objectOf(value ?? {}, 'an input or output');
  const isObject = typeof schema === 'object' && schema !== null && !Array.isArray(schema);
  return { stream: stream === true, ...(isObject ? { schema: schema as JsonSchema } : {}) };
}

function objectOf(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw apiError(`${what} is no object`);
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value.slice(0, MAX_TEXT) : '';
}
