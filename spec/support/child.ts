// A child process that is talked to in JSON lines: one object per line in, one per line out.

import { type ChildProcessWithoutNullStreams, type SpawnOptionsWithoutStdio, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { within } from './deadline.js';

export type Line = Record<string, unknown>;

interface Waiter {
  matches(line: Line): boolean;
  resolve(line: Line): void;
  reject(error: Error): void;
}

const running = new Set<Child>();

// A spec that is aborted leaves nothing behind.
process.once('exit', () => {
  for (const child of running) child.kill();
});

export class Child {
  /** Every line so far, in order. */
  readonly lines: Line[] = [];
  /** Resolved with the exit code, or with the name of the signal that ended it. */
  readonly exited: Promise<number | string>;
  private readonly process: ChildProcessWithoutNullStreams;
  private readonly waiters = new Set<Waiter>();
  private errorText = '';
  private ended: string | undefined;

  constructor(
    private readonly command: string,
    args: readonly string[],
    options: SpawnOptionsWithoutStdio = {},
  ) {
    this.process = spawn(command, args, options);
    running.add(this);
    this.process.stdin.on('error', () => {}); // It may be gone; then the answer is what is missed.
    this.process.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.errorText = (this.errorText + text).slice(-4000);
    });
    const output = createInterface({ input: this.process.stdout });
    output.on('line', (text) => this.onLine(text));
    this.exited = new Promise((resolve) => {
      // Not 'exit': 'close' comes when the last line has been read too.
      this.process.once('close', (code, signal) => this.onEnd(resolve, code ?? signal ?? 'unknown'));
      this.process.once('error', (error) => this.onEnd(resolve, error.message));
    });
  }

  send(line: Line): void {
    this.process.stdin.write(`${JSON.stringify(line)}\n`);
  }

  /** The first line, of those already there or still to come, for which `matches` is true. */
  waitFor(what: string, matches: (line: Line) => boolean, deadlineMs?: number): Promise<Line> {
    const there = this.lines.find(matches);
    if (there !== undefined) return Promise.resolve(there);
    if (this.ended !== undefined) return Promise.reject(this.endError(what));
    let waiter: Waiter | undefined;
    const line = new Promise<Line>((resolve, reject) => {
      waiter = { matches, resolve, reject };
      this.waiters.add(waiter);
    });
    return within(`${what} from ${this.command}`, line, deadlineMs).finally(() =>
      this.waiters.delete(waiter as Waiter),
    );
  }

  /** The end of what it has written to its standard error. */
  get errors(): string {
    return this.errorText;
  }

  kill(signal: NodeJS.Signals = 'SIGKILL'): void {
    this.process.kill(signal);
  }

  /** Kills it and waits until it is gone. */
  async stop(): Promise<void> {
    this.kill();
    await within(`the end of ${this.command}`, this.exited);
  }

  private onLine(text: string): void {
    let line: Line;
    try {
      line = JSON.parse(text) as Line;
    } catch {
      line = { event: 'text', text };
    }
    this.lines.push(line);
    for (const waiter of this.waiters) {
      if (waiter.matches(line)) {
        this.waiters.delete(waiter);
        waiter.resolve(line);
      }
    }
  }

  private onEnd(resolve: (how: number | string) => void, how: number | string): void {
    running.delete(this);
    this.ended = String(how);
    resolve(how);
    for (const waiter of this.waiters) waiter.reject(this.endError('a line'));
    this.waiters.clear();
  }

  private endError(what: string): Error {
    return new Error(`${this.command} ended (${this.ended}) before ${what}: ${this.errorText}`);
  }
}
