// Log lines on standard error: text for people, or one JSON object a line.

import { codeOf } from '../errors.js';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

export interface Log {
  debug(message: string, fields?: Readonly<Record<string, unknown>>): void;
  info(message: string, fields?: Readonly<Record<string, unknown>>): void;
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void;
  error(message: string, fields?: Readonly<Record<string, unknown>>): void;
  /** Passes on a line that a program has printed, whatever the level. `source` names the program. */
  output(source: string, stream: 'stdout' | 'stderr', line: string): void;
}

export interface LogOptions {
  readonly format: 'text' | 'json';
  readonly level: LogLevel;
  readonly stream: { write(text: string): unknown };
}

const LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error'];

export function createLog({ format, level, stream }: LogOptions): Log {
  const write =
    (of: LogLevel) =>
    (message: string, fields: Readonly<Record<string, unknown>> = {}) => {
      if (LEVELS.indexOf(of) < LEVELS.indexOf(level)) return;
      const line =
        format === 'json'
          ? JSON.stringify({ time: new Date().toISOString(), level: of, msg: message, ...shown(fields) })
          : `starlane: ${of === 'warn' ? 'warning: ' : of === 'error' ? 'error: ' : ''}${message}`;
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

function shown(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [
      name,
      value instanceof Error ? { code: codeOf(value), message: value.message } : value,
    ]),
  );
}
