// A program with all that it starts, which ends as a whole: a process group of its own.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { watchOver } from './orphan-watch.js';
import type { ProgramEnd } from './restarts.js';

/** What to run: a file with arguments, or a line for the shell. */
export type ProgramCommand = readonly string[] | string;

export interface ProcessGroupOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The folder that it runs in. Default that of this process. */
  readonly cwd?: string | undefined;
  /** The user and the group that it runs as. Default those of this process. */
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
  /** Default 'ignore'. */
  readonly stdin?: 'ignore' | 'pipe';
  /** The time between SIGTERM and SIGKILL. */
  readonly stopTimeoutMs: number;
}

const MAX_POLL_MS = 100;
const hasGroups = process.platform !== 'win32';

export class ProcessGroup {
  /** Resolves when the program and all that it has started have ended. */
  readonly ended: Promise<ProgramEnd>;
  private readonly exited: Promise<ProgramEnd>;
  /** When SIGKILL is due, by performance.now(). */
  private killAtMs = Number.POSITIVE_INFINITY;

  private constructor(
    readonly child: ChildProcess,
    private readonly stopTimeoutMs: number,
  ) {
    this.exited = new Promise((resolve) => {
      child.once('exit', (code, signal) => resolve({ code, signal }));
    });
    const release = hasGroups ? watchOver(this.pid) : () => {};
    this.ended = this.exited.then(async (end) => {
      // What it has left behind must not keep its port.
      this.terminate();
      await this.endOfGroup();
      release();
      return end;
    });
  }

  /** Starts the program. @throws ENOENT, EACCES and others of spawn */
  static async start(
    command: ProgramCommand,
    { env, cwd, uid, gid, stdin = 'ignore', stopTimeoutMs }: ProcessGroupOptions,
  ): Promise<ProcessGroup> {
    const options = {
      env: { ...env },
      cwd,
      uid,
      gid,
      stdio: [stdin, 'pipe', 'pipe'] as ['ignore' | 'pipe', 'pipe', 'pipe'],
      detached: hasGroups,
      windowsHide: true,
    };
    const child =
      typeof command === 'string'
        ? spawn(command, { ...options, shell: true })
        : spawn(command[0], command.slice(1), options);
    child.stdin?.on('error', () => {});
    await once(child, 'spawn');
    child.on('error', () => {});
    return new ProcessGroup(child, stopTimeoutMs);
  }

  get pid(): number {
    return this.child.pid as number;
  }

  /** Ends it: SIGTERM first, and SIGKILL for what is left after the time for it. Resolves when all of it has ended. */
  async stop(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      this.terminate();
      const timer = setTimeout(() => this.signal('SIGKILL'), Math.max(0, this.killAtMs - performance.now()));
      await this.exited;
      clearTimeout(timer);
    }
    await this.ended;
  }

  /** Sends SIGKILL to all of it. */
  kill(): void {
    this.signal('SIGKILL');
  }

  private terminate(): void {
    if (this.killAtMs !== Number.POSITIVE_INFINITY) return;
    this.killAtMs = performance.now() + this.stopTimeoutMs;
    this.signal('SIGTERM');
  }

  /** Waits until no process of the group is left. */
  private async endOfGroup(): Promise<void> {
    let isKilled = false;
    for (let waitMs = 5; this.isAlive; waitMs = Math.min(MAX_POLL_MS, 2 * waitMs)) {
      if (performance.now() >= this.killAtMs) {
        // Those that are left then are zombies, whose parent does not look.
        if (isKilled) return;
        isKilled = true;
        this.signal('SIGKILL');
      }
      await new Promise((resolve) => setTimeout(resolve, waitMs));
    }
  }

  private get isAlive(): boolean {
    if (!hasGroups) return false;
    try {
      process.kill(-this.pid, 0);
      return true;
    } catch {
      // macOS says EPERM for a group of zombies.
      return false;
    }
  }

  private signal(signal: NodeJS.Signals): void {
    try {
      if (hasGroups) process.kill(-this.pid, signal);
      else this.child.kill(signal);
    } catch {
      // All of it has ended.
    }
  }
}

/** Calls back with each line of a stream; a longer one comes in pieces. */
export function eachLine(stream: NodeJS.ReadableStream, onLine: (line: string) => void): void {
  let rest = '';
  stream.setEncoding('utf8');
  stream.on('error', () => {});
  stream.on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) onLine(line.endsWith('\r') ? line.slice(0, -1) : line);
    if (rest.length >= MAX_LINE_LENGTH) {
      onLine(rest);
      rest = '';
    }
  });
  stream.on('end', () => {
    if (rest !== '') onLine(rest);
    rest = '';
  });
}

const MAX_LINE_LENGTH = 16_384;
