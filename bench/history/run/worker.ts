// One process of a run, from outside.

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import type { FromWorker, Start, ToWorker } from '../worker/protocol.js';

const MAX_ERRORS = 2_000;

export interface Ended {
  readonly how: string;
  readonly errors: string;
}

export class Worker {
  /** The ports at which its node listens, when it does. */
  readonly up: Promise<{ readonly tcp: number; readonly tls: number | undefined }>;
  readonly finished: Promise<void>;
  readonly ended: Promise<Ended>;
  /** Messages that it has sent. */
  sent = 0;
  /** Of those, how many were handled. */
  handled = 0;
  /** Whether the run wants it to end. */
  isMeant = false;
  hasEnded = false;
  private readonly child: ChildProcess;
  private errors = '';

  constructor(
    program: string,
    readonly start: Start,
  ) {
    this.child = fork(program, [JSON.stringify(start)], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      execArgv: [],
    });
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.errors = (this.errors + text).slice(-MAX_ERRORS);
    });
    // It may be gone, or stopped.
    this.child.on('error', () => {});
    this.ended = once(this.child, 'close').then(([code, signal]) => {
      this.hasEnded = true;
      return { how: String(signal ?? code), errors: this.errors };
    });
    this.up = this.saying('up');
    this.finished = this.saying('finished').then(() => {});
    this.child.on('message', (line: FromWorker) => {
      if (line.type !== 'sent') return;
      this.sent = line.count;
      this.handled = line.handled;
    });
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  ask(type: ToWorker['type']): void {
    if (this.child.connected) this.child.send({ type } satisfies ToWorker, () => {});
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  async kill(): Promise<void> {
    this.isMeant = true;
    this.child.kill('SIGKILL');
    await this.ended;
  }

  /** The first line of a type; a process that ends before never says it. */
  private saying<Type extends FromWorker['type']>(type: Type): Promise<Extract<FromWorker, { type: Type }>> {
    return new Promise((resolve) => {
      const onMessage = (line: FromWorker): void => {
        if (line.type !== type) return;
        this.child.off('message', onMessage);
        resolve(line as Extract<FromWorker, { type: Type }>);
      };
      this.child.on('message', onMessage);
    });
  }
}
