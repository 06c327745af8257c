// Flags as data: the command line, the environment, the configuration file, its schema, the help and the completion all follow from them.

import type { ZodType, z } from 'zod';
import { usage } from './failure.js';

interface FlagValues {
  text: string;
  list: readonly string[];
  boolean: boolean;
  integer: number;
  /** In ms. */
  duration: number;
}

export type FlagKind = keyof FlagValues;

export interface Flag<K extends FlagKind = FlagKind> {
  readonly kind: K;
  /** What it does, for the help; begins with a small letter. */
  readonly about: string;
  /** The name of its value in the help. */
  readonly value?: string;
  /** One letter. */
  readonly short?: string;
  /** For a flag that is on by default: what `--no-…` does, for the help. */
  readonly aboutNot?: string;
  /** The variable of the environment, where it is not the one that follows from the names of command and flag. */
  readonly env?: string;
  /** The values that it takes. */
  readonly choices?: readonly string[];
  /** For integers; for durations in ms. */
  readonly min?: number;
  readonly max?: number;
  /** What holds when it is not given, for the help. */
  readonly otherwise?: string;
  /** For lists: a comma is part of a value, so that only several flags, or a list in the file, make several. Default false. */
  readonly isWhole?: boolean;
  /** For lists: an entry of the file may also be an object with these fields, each a text or a list. It stands for `field=a,b field=c`. */
  readonly fields?: readonly string[];
  /** For texts: in the file it may also be an object of this schema, which stands for its JSON. */
  readonly object?: (zod: typeof z) => ZodType;
  /** False where a key in the file makes no sense, as for `--config`. Default true. */
  readonly inFile?: boolean;
}

type FlagOptions = Omit<Flag, 'kind' | 'about'>;

/** By the name that code uses: `trustProxy` is `--trust-proxy`, and `trust-proxy` in the file. */
export type Flags = Readonly<Record<string, Flag>>;

/** The values of flags; undefined where nobody gave one. */
export type ValuesOf<F extends Flags> = { readonly [N in keyof F]: FlagValues[F[N]['kind']] | undefined };

export const flag = {
  text: (about: string, options: FlagOptions = {}): Flag<'text'> => ({ kind: 'text', about, ...options }),
  /** May be given several times; in one value, commas separate. */
  list: (about: string, options: FlagOptions = {}): Flag<'list'> => ({ kind: 'list', about, ...options }),
  boolean: (about: string, options: FlagOptions = {}): Flag<'boolean'> => ({ kind: 'boolean', about, ...options }),
  integer: (about: string, options: FlagOptions = {}): Flag<'integer'> => ({ kind: 'integer', about, ...options }),
  duration: (about: string, options: FlagOptions = {}): Flag<'duration'> => ({ kind: 'duration', about, ...options }),
} as const;

/** Returns the name as people write it: `trust-proxy`. */
export function kebab(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** Returns the variable of a flag: STARLANE_FORWARD_BIND for `--bind` of `forward`. `command` is empty for flags of every command. */
export function variableOf(command: string, name: string, { env }: Flag): string {
  if (env !== undefined) return env;
  const words = command === '' ? kebab(name) : `${command}-${kebab(name)}`;
  return `STARLANE_${words.replace(/[- ]/g, '_').toUpperCase()}`;
}

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Returns a time in ms: `500ms`, `10s`, `2m`, `1h`, `30d`; a bare number counts seconds. Undefined if it is none. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/.exec(text.trim());
  if (match === null) return undefined;
  return Math.round(Number(match[1]) * UNITS[match[2] ?? 's']);
}

/** Returns the value that a text stands for. `where` names its place in the error. @throws Failure */
export function parseValue<K extends FlagKind>(
  flag: Flag<K>,
  given: string | readonly string[],
  where: string,
): FlagValues[K];
export function parseValue(flag: Flag, given: string | readonly string[], where: string): FlagValues[FlagKind] {
  if (flag.kind === 'list') return listOf(flag, given, where);
  const text = typeof given === 'string' ? given : (given[given.length - 1] ?? '');
  switch (flag.kind) {
    case 'boolean':
      if (text === 'true' || text === '1') return true;
      if (text === 'false' || text === '0') return false;
      throw usage(`${where}: must be true or false, not ${JSON.stringify(text)}`);
    case 'integer':
      return inRange(flag, /^-?\d+$/.test(text) ? Number(text) : undefined, text, where);
    case 'duration':
      return inRange(flag, parseDuration(text), text, where);
    case 'text':
      checkChoice(flag, text, where);
      if (text === '') throw usage(`${where}: must not be empty`);
      return text;
  }
}

/** Returns the value of a key of the file, whose type has been checked. @throws Failure */
export function fileValue(flag: Flag, given: unknown, where: string): FlagValues[FlagKind] {
  if (Array.isArray(given)) return listOf(flag, given.map(entryText), where);
  if (flag.object !== undefined && typeof given === 'object') return parseValue(flag, JSON.stringify(given), where);
  return parseValue(flag, entryText(given), where);
}

/** Splits a text such as NAME=VALUE. `where` names its flag. @throws Failure */
export function pairOf(where: string, text: string, form = 'NAME=VALUE'): [name: string, value: string] {
  const at = text.indexOf('=');
  if (at < 1) throw usage(`${where} must be ${form}, not ${JSON.stringify(text)}`);
  return [text.slice(0, at), text.slice(at + 1)];
}

/** Returns a value of the file as a text: an object as its fields, in which characters that separate are percent-encoded. */
function entryText(given: unknown): string {
  if (typeof given !== 'object' || given === null) return String(given);
  return Object.entries(given)
    .filter(([, value]) => value !== null)
    .map(
      ([field, value]) =>
        `${field}=${[value]
          .flat()
          .map((one) => encodeURIComponent(String(one)))
          .join(',')}`,
    )
    .join(' ');
}

function listOf(flag: Flag, given: string | readonly string[], where: string): readonly string[] {
  const texts = typeof given === 'string' ? [given] : given;
  const words = (flag.isWhole ? texts : texts.flatMap((text) => text.split(','))).map((word) => word.trim());
  const found = words.filter((word) => word !== '');
  for (const word of found) checkChoice(flag, word, where);
  return found;
}

function checkChoice({ choices }: Flag, text: string, where: string): void {
  if (choices !== undefined && !choices.includes(text)) {
    throw usage(`${where}: must be ${inWords(choices)}, not ${JSON.stringify(text)}`);
  }
}

/** What timers take: 24.8 days. With more, they would be over at once. */
const LONGEST_MS = 2 ** 31 - 1;

function inRange(flag: Flag, value: number | undefined, text: string, where: string): number {
  const { kind, min, max = kind === 'duration' ? LONGEST_MS : undefined } = flag;
  const what = kind === 'integer' ? 'a whole number' : 'a time such as 500ms, 10s or 2m';
  if (value === undefined || !Number.isSafeInteger(value))
    throw usage(`${where}: must be ${what}, not ${JSON.stringify(text)}`);
  if ((min !== undefined && value < min) || (max !== undefined && value > max)) {
    const unit = kind === 'duration' ? ' ms' : '';
    throw usage(`${where}: must be ${what} from ${min ?? 0} to ${max ?? 'any'}${unit}, not ${JSON.stringify(text)}`);
  }
  return value;
}

/** Returns `a, b or c`. */
export function inWords(words: readonly string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} or ${words[words.length - 1]}`;
}
