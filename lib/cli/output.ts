// What a command prints: tables and lines for people, JSON for programs. Data goes to standard output, notes to standard error.

import { once } from 'node:events';
import type { Writable } from 'node:stream';
import { styleText } from 'node:util';
import Table from 'cli-table3';
import { printable } from './log.js';

export interface OutputOptions {
  readonly isJson: boolean;
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan';

export class Output {
  constructor(private readonly options: OutputOptions) {}

  get isJson(): boolean {
    return this.options.isJson;
  }

  /** Whether a person looks at standard output. */
  get isTerminal(): boolean {
    return this.options.stdout.isTTY === true;
  }

  /** Prints a line of data for people; nothing with `--json`. */
  line(text = ''): void {
    if (!this.isJson) this.options.stdout.write(`${text}\n`);
  }

  /** Prints a value as one line of JSON; nothing without `--json`. */
  json(value: unknown): void {
    if (this.isJson) this.options.stdout.write(`${JSON.stringify(value)}\n`);
  }

  /** Prints something that is no data: where to go next, what is waited for. Nothing with `--json`. */
  note(text: string): void {
    if (!this.isJson) this.options.stderr.write(`${text}\n`);
  }

  /** Prints rows under headings, or the values as a JSON array. */
  table<Row>(rows: readonly Row[], columns: Readonly<Record<string, (row: Row) => unknown>>, empty: string): void {
    if (this.isJson) this.options.stdout.write(`${JSON.stringify(rows)}\n`);
    else if (rows.length === 0) this.note(empty);
    else this.options.stdout.write(`${this.tableText(rows, columns)}\n`);
  }

  /** Returns a table as text: columns with two spaces between, without lines, so that `awk` and `grep` work on it. */
  tableText<Row>(rows: readonly Row[], columns: Readonly<Record<string, (row: Row) => unknown>>): string {
    const border = Object.fromEntries(
      [
        'top',
        'top-mid',
        'top-left',
        'top-right',
        'bottom',
        'bottom-mid',
        'bottom-left',
        'bottom-right',
        'left',
        'left-mid',
        'mid',
        'mid-mid',
        'right',
        'right-mid',
      ].map((part) => [part, '']),
    );
    const table = new Table({
      head: Object.keys(columns).map((heading) => this.style('bold', heading.toUpperCase())),
      chars: { ...border, middle: '  ' },
      style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
    });
    for (const row of rows) table.push(Object.values(columns).map((of) => cell(of(row))));
    return table
      .toString()
      .split('\n')
      .map((line) => line.trimEnd())
      .join('\n');
  }

  /** Returns the text in that style, where colours are shown: on a terminal, and unless NO_COLOR is set (no-color.org). */
  style(style: Style, text: string): string {
    const { NO_COLOR, FORCE_COLOR } = this.options.environment;
    const isOff = NO_COLOR !== undefined && NO_COLOR !== '';
    const isForced = FORCE_COLOR !== undefined && FORCE_COLOR !== '' && FORCE_COLOR !== '0';
    return !isOff && (isForced || this.isTerminal) ? styleText(style, text) : text;
  }
}

/** Writes, and waits while the reader is slower. */
export async function written(stream: Writable, data: string | Uint8Array): Promise<void> {
  if (!stream.write(data)) await once(stream, 'drain');
}

function cell(value: unknown): string {
  if (value === undefined || value === null || value === '') return '-';
  return printable(String(value));
}
