// Log lines on standard error: text for people, or one JSON object a line for programs. Neither has secrets or tokens.
//
// It has code of its own: a logger such as pino is made for a hundred thousand lines a second, and this writes a few a minute.

import { styleText } from 'node:util';
import { codeOf } from '../errors.js';
import { dateNow } from '../util/runtime/real-timers.js';

const LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof LEVELS)[number];

/** What a line says besides its message. Errors are written with their code and their causes, undefined not at all. */
export type LogFields = Readonly<Record<string, unknown>>;

export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** Passes on a line that a program has printed, whatever the level. `source` names the program. */
  output(source: string, stream: 'stdout' | 'stderr', line: string): void;
}

export interface LogOptions {
  readonly format: 'text' | 'json';
  /** The lowest level that is written. */
  readonly level: LogLevel;
  readonly stream: { write(text: string): unknown; readonly isTTY?: boolean };
  /** For NO_COLOR and FORCE_COLOR. Default that of the process. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** The time in ms since 1970. Default that of the system. */
  readonly now?: () => number;
}

/** Names of fields whose values nobody may read in a log. */
const SECRET = /secret|token|password|passphrase|authorization|cookie|credential|private/i;
const HIDDEN = '[hidden]';
/** Tokens of invitations, wherever they are: an error may quote one. */
const TOKEN = /\bstarlane1\.[\w-]+/g;

const MAX_DEPTH = 6;
const MAX_TEXT = 4_096;
const MAX_ITEMS = 100;

export function createLog({ format, level, stream, environment = process.env, now = dateNow }: LogOptions): Log {
  const lowest = LEVELS.indexOf(level);
  const isStyled = format === 'text' && hasColours(stream, environment);
  const write =
    (of: LogLevel) =>
    (message: string, fields: LogFields = {}): void => {
      if (LEVELS.indexOf(of) < lowest) return;
      const line = format === 'json' ? jsonLine(of, message, fields, now()) : textLine(of, message, fields, isStyled);
      stream.write(`${line}\n`);
    };
  const output = (source: string, from: 'stdout' | 'stderr', line: string) => {
    const text =
      format === 'json'
        ? JSON.stringify({ time: new Date().toISOString(), level: 'info', msg: line, program: source, stream: from })
        : `${source} | ${line}`;
    stream.write(`${text}\n`);
  };
  return { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error'), output };
}

function jsonLine(level: LogLevel, message: string, fields: LogFields, nowMs: number): string {
  const { time: _time, level: _level, msg: _msg, ...said } = plain(fields, 0) as Record<string, unknown>;
  // A field of the same name does not take the place of these.
  const own = { time: new Date(nowMs).toISOString(), level, msg: clean(message), code: codeOf(fields['error']) };
  return JSON.stringify({ ...own, ...said });
}

/** Whether the stream shows colours is decided here. */
const FORCED = { validateStream: false };
const PREFIXES = { debug: '', info: '', warn: 'warning: ', error: 'error: ' } as const;
const STYLES = { debug: 'gray', info: 'reset', warn: 'yellow', error: 'red' } as const;

function textLine(level: LogLevel, message: string, fields: LogFields, isStyled: boolean): string {
  const text = printable(clean(message));
  const said = Object.entries(fields).flatMap(([name, value]) => {
    if (value === undefined) return [];
    // Most messages are those of the error.
    if (value instanceof Error && message.includes(value.message)) return [];
    const shown = SECRET.test(name) ? HIDDEN : value instanceof Error ? causes(value) : plain(value, 0);
    const field = typeof shown === 'string' ? shown : (JSON.stringify(shown) ?? '');
    // Many messages say it already.
    return message.includes(field)
      ? []
      : [`${name}=${/^[\w@./:+-]+$/.test(field) ? field : printable(JSON.stringify(field))}`];
  });
  const more = said.length === 0 ? '' : ` (${said.join(', ')})`;
  if (!isStyled) return `starlane: ${PREFIXES[level]}${text}${more}`;
  const start = styleText(STYLES[level], `starlane: ${PREFIXES[level]}`, FORCED);
  return `${start}${text}${more === '' ? '' : styleText('gray', more, FORCED)}`;
}

/** As Node decides it, and NO_COLOR (https://no-color.org). */
function hasColours(
  { isTTY }: LogOptions['stream'],
  environment: Readonly<Record<string, string | undefined>>,
): boolean {
  const isSet = (name: string): boolean => (environment[name] ?? '') !== '';
  if (isSet('NO_COLOR')) return false;
  if (isSet('FORCE_COLOR')) return environment['FORCE_COLOR'] !== '0';
  return isTTY === true;
}

/** The messages of an error and of its causes, with their codes. */
function causes(error: Error): string {
  const parts: string[] = [];
  for (let one: unknown = error; one instanceof Error && parts.length < MAX_DEPTH; one = one.cause) {
    const code = codeOf(one);
    parts.push(code === undefined || one.message.includes(code) ? one.message : `${one.message} (${code})`);
  }
  return clean(parts.join(': '));
}

/** What a peer says must not look like another line, move the cursor of a terminal, or turn the direction of its text. */
export function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu,
    (one) => `\\x${one.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}

/** Returns a text without tokens, and not without end. */
export function clean(text: string): string {
  const whole = text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}...` : text;
  return whole.replace(TOKEN, HIDDEN);
}

/** Returns a value as JSON can hold it: errors with code and cause, nothing secret, nothing without end. */
function plain(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return clean(value);
  if (typeof value === 'bigint') return String(value);
  if (typeof value === 'function' || typeof value === 'symbol') return undefined;
  if (typeof value !== 'object' || value === null) return value;
  if (depth >= MAX_DEPTH) return '...';
  if (value instanceof Error) return plainError(value, depth);
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
  if (ArrayBuffer.isView(value)) return `${value.byteLength} bytes`;
  if (Array.isArray(value)) return value.slice(0, MAX_ITEMS).map((one) => plain(one, depth + 1));
  const entries = Object.entries(value).slice(0, MAX_ITEMS);
  return Object.fromEntries(
    entries.map(([name, one]) => [name, SECRET.test(name) && one !== undefined ? HIDDEN : plain(one, depth + 1)]),
  );
}

function plainError(error: Error, depth: number): object {
  const { name, message, cause } = error;
  const { syscall, address, port } = error as { syscall?: unknown; address?: unknown; port?: unknown };
  const said = { name, message: clean(message), code: codeOf(error), syscall, address, port };
  return cause === undefined ? said : { ...said, cause: plain(cause, depth + 1) };
}
