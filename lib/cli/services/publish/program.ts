// The program of a published service: starts it, starts it again when it has ended, and ends it.

import { codeOf } from '../../../errors.js';
import { ExitCode, Failure } from '../../failure.js';
import type { Log } from '../../log.js';
import { eachLine, ProcessGroup, type ProgramCommand } from './process-group.js';
import { endInWords, type ProgramEnd, type RestartPolicy, Restarts } from './restarts.js';

export interface ProgramOptions {
  readonly command: ProgramCommand;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The folder that it runs in. Default that of this process. */
  readonly cwd?: string | undefined;
  readonly restart: RestartPolicy;
  readonly stopTimeoutMs: number;
}

export interface ProgramOwner {
  /** For logs. */
  readonly title: string;
  /** In front of what the program prints. */
  readonly name: string;
  readonly log: Log;
  /** It runs. */
  onUp(): void;
  /** It has ended, or cannot be started; it may be started again. */
  onDown(reason: string): void;
  /** It has ended for good. */
  onEnd(end: ProgramEnd): void;
}

export class Program {
  private group: ProcessGroup | undefined;
  private timer: NodeJS.Timeout | undefined;
  private readonly restarts: Restarts;
  private isStopped = false;
  private lastEnd = 'not started';

  constructor(
    private readonly options: ProgramOptions,
    private readonly owner: ProgramOwner,
  ) {
    this.restarts = new Restarts(options.restart, Math.random);
  }

  /** @throws Failure when it cannot be started */
  async start(): Promise<void> {
    try {
      await this.run();
    } catch (error) {
      const { command } = this.options;
      const file = typeof command === 'string' ? command : command[0];
      const isMissing = codeOf(error) === 'ENOENT';
      throw new Failure(
        `${this.owner.title}: cannot start ${file}: ${isMissing ? 'there is no such program' : 'it is refused'}`,
        isMissing ? ExitCode.NOT_FOUND : ExitCode.FAILURE,
        isMissing ? undefined : { cause: error },
      );
    }
  }

  /** Ends it. Resolves when it has ended. */
  async stop(): Promise<void> {
    this.isStopped = true;
    clearTimeout(this.timer);
    await this.group?.stop();
  }

  status(): Record<string, unknown> {
    const { group, restarts, lastEnd } = this;
    const state = group === undefined ? `down (${lastEnd})` : 'running';
    return { program: state, ...(group === undefined ? {} : { pid: group.pid }), restarts: restarts.count };
  }

  private async run(): Promise<void> {
    const { command, env, cwd, stopTimeoutMs } = this.options;
    const { owner } = this;
    const group = await ProcessGroup.start(command, { env, cwd, stopTimeoutMs });
    const startedAt = performance.now();
    this.group = group;
    for (const stream of ['stdout', 'stderr'] as const) {
      const from = group.child[stream];
      if (from !== null) eachLine(from, (line) => owner.log.output(owner.name, stream, line));
    }
    void group.ended.then((end) => this.onEnded(end, performance.now() - startedAt));
    if (this.isStopped) await group.stop();
    else owner.onUp();
  }

  private onEnded(end: ProgramEnd, ranMs: number): void {
    this.group = undefined;
    this.lastEnd = endInWords(end);
    if (this.isStopped) return;
    const { owner } = this;
    const waitMs = this.restarts.next(end, ranMs);
    owner.onDown(`its program has ended (${this.lastEnd})`);
    if (waitMs === undefined) {
      owner.log.warn(`${owner.title}: the program has ended: ${this.lastEnd}`);
      owner.onEnd(end);
      return;
    }
    this.startLater(waitMs, `the program has ended: ${this.lastEnd}`);
  }

  private startLater(waitMs: number, why: string): void {
    const { owner } = this;
    owner.log.warn(`${owner.title}: ${why}; it starts again in ${(waitMs / 1000).toFixed(1)} s`);
    this.timer = setTimeout(() => {
      this.run().catch((error) => {
        if (this.isStopped) return;
        this.lastEnd = `it cannot be started: ${(error as Error).message}`;
        this.startLater(this.restarts.next({ code: null, signal: null }, 0) ?? 30_000, this.lastEnd);
      });
    }, waitMs);
  }
}
