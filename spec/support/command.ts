// The command `starlane` as processes: each Machine has a home of its own, as a machine of a user has.

import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { builtUrl } from './built-lib.js';
import { within } from './deadline.js';

export interface CommandOptions {
  /** On top of PATH, HOME, STARLANE_HOME and NO_COLOR; undefined removes one. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
}

export interface CommandResult {
  /** The exit code, or the name of the signal that ended it. */
  readonly code: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

interface Waiter {
  look(): void;
  fail(error: Error): void;
}

/** A command that runs, or has run. */
export class Command {
  /** Resolves when it has ended and everything that it printed has been read. */
  readonly ended: Promise<CommandResult>;
  private readonly process: ChildProcessWithoutNullStreams;
  private readonly waiters = new Set<Waiter>();
  private readonly chunks = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  private result: CommandResult | undefined;

  constructor(
    readonly args: readonly string[],
    cwd: string,
    env: Readonly<Record<string, string | undefined>>,
  ) {
    const main = fileURLToPath(builtUrl('cli/main.js'));
    this.process = spawn(process.execPath, [main, ...args], { cwd, env });
    // It may be gone; then its result is what is looked at.
    this.process.stdin.on('error', () => {});
    for (const name of ['stdout', 'stderr'] as const) {
      this.process[name].on('data', (chunk: Buffer) => {
        this.chunks[name].push(chunk);
        for (const waiter of [...this.waiters]) waiter.look();
      });
    }
    this.ended = new Promise((resolve) => {
      this.process.once('close', (code, signal) => {
        this.result = { code: code ?? signal ?? 'unknown', stdout: this.stdout, stderr: this.stderr };
        resolve(this.result);
        for (const waiter of [...this.waiters]) waiter.look();
        for (const waiter of this.waiters) waiter.fail(new Error(`ended before that: ${this}`));
      });
    });
  }

  get pid(): number {
    return this.process.pid ?? 0;
  }

  get stdin(): Writable {
    return this.process.stdin;
  }

  /** For specs that read the data themselves, such as with back-pressure: call it at once. It is no longer part of {@link stdout}. */
  takeStdout(): Readable {
    this.process.stdout.removeAllListeners('data');
    return this.process.stdout;
  }

  /** What it has printed so far. */
  get stdout(): string {
    return Buffer.concat(this.chunks.stdout).toString();
  }

  get stderr(): string {
    return Buffer.concat(this.chunks.stderr).toString();
  }

  /** Standard output as bytes. */
  get bytes(): Buffer {
    return Buffer.concat(this.chunks.stdout);
  }

  /** Returns the match of the first place in its output, so far or still to come; without `from`, in both of its outputs. */
  waitFor(pattern: RegExp, from?: 'stdout' | 'stderr', deadlineMs?: number): Promise<RegExpExecArray> {
    const find = () => {
      const texts = from === undefined ? [this.stdout, this.stderr] : [this[from]];
      for (const text of texts) {
        const match = pattern.exec(text);
        if (match !== null) return match;
      }
      return null;
    };
    const found = find();
    if (found !== null) return Promise.resolve(found);
    if (this.result !== undefined) return Promise.reject(new Error(`ended without ${pattern}: ${this}`));
    let waiter: Waiter | undefined;
    const match = new Promise<RegExpExecArray>((resolve, reject) => {
      waiter = {
        look: () => {
          const match = find();
          if (match !== null) resolve(match);
        },
        fail: reject,
      };
      this.waiters.add(waiter);
    });
    return within(`${pattern} from starlane ${this.args.join(' ')}`, match, deadlineMs)
      .catch((error: Error) => {
        throw new Error(`${error.message}: ${this}`);
      })
      .finally(() => this.waiters.delete(waiter as Waiter));
  }

  /** Waits for the end that comes by itself. */
  finish(deadlineMs?: number): Promise<CommandResult> {
    return within(`the end of starlane ${this.args.join(' ')}`, this.ended, deadlineMs).catch((error: Error) => {
      throw new Error(`${error.message}: ${this}`);
    });
  }

  signal(signal: NodeJS.Signals): void {
    this.process.kill(signal);
  }

  /** Sends a signal, and waits for the end. */
  stop(signal: NodeJS.Signals = 'SIGTERM', deadlineMs?: number): Promise<CommandResult> {
    this.signal(signal);
    return this.finish(deadlineMs);
  }

  /** For error messages. */
  toString(): string {
    const { code } = this.result ?? { code: 'running' };
    return `starlane ${this.args.join(' ')} (${code})\n${this.stdout.slice(-2000)}\n${this.stderr.slice(-2000)}`;
  }
}

/** A user of a machine, with networks and control sockets of its own. */
export class Machine {
  readonly folder = mkdtempSync(join(tmpdir(), 'starlane-machine-'));
  private readonly commands: Command[] = [];

  constructor() {
    machines.add(this);
  }

  /** The variables of the environment that make a process part of this machine. */
  get env(): Record<string, string | undefined> {
    return { PATH: process.env['PATH'], HOME: this.folder, STARLANE_HOME: join(this.folder, 'home'), NO_COLOR: '1' };
  }

  /** Starts a command. */
  start(args: readonly string[], { env = {}, cwd = this.folder }: CommandOptions = {}): Command {
    const command = new Command(args, cwd, { ...this.env, ...env });
    this.commands.push(command);
    return command;
  }

  /** Runs a command to its end. */
  run(args: readonly string[], options?: CommandOptions): Promise<CommandResult> {
    return this.start(args, options).finish();
  }

  /** Makes a network, publishes a service of this machine in it, and returns the command and the token that it has printed. */
  async publish(args: readonly string[], options?: CommandOptions): Promise<{ command: Command; token: string }> {
    const command = this.start(['publish', ...args, '--listen', 'tls://127.0.0.1:0', '--invite'], options);
    const [token] = await command.waitFor(/starlane1\.[\w-]+/, 'stdout');
    return { command, token };
  }

  /** Ends everything that runs here, and removes the folder. */
  async dispose(): Promise<void> {
    await Promise.all(this.commands.map((command) => command.stop('SIGKILL')));
    this.discard();
  }

  /** At once, without waiting. */
  discard(): void {
    machines.delete(this);
    for (const command of this.commands) command.signal('SIGKILL');
    rmSync(this.folder, { recursive: true, force: true });
  }
}

const machines = new Set<Machine>();

// Specs that are torn down in the middle leave nothing behind.
process.once('exit', () => {
  for (const machine of machines) machine.discard();
});
