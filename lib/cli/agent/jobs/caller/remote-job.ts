// A job as seen from elsewhere: everything that is asked of its host goes on by itself over lost links and restarts of the agent, for as long
// as the host may be away.

import type { IncomingMessage } from 'node:http';
import { codeOf, starlaneError } from '../../../../errors.js';
import { backOffMs } from '../../../../util/back-off.js';
import { clearTimeout, performanceNow, setTimeout } from '../../../../util/runtime/real-timers.js';
import { codedError } from '../../../failure.js';
import type { HostRequest } from '../../host-client.js';
import { isPassing, isWayFault, pause } from '../../retry.js';
import type { JobRequest } from '../declared.js';
import { FrameReader, type OutputKind } from '../frames.js';
import type { JobStatus } from '../record.js';

/** What is needed of the agent of a host. */
export interface JobHost {
  ask(request: HostRequest): Promise<unknown>;
  open(request: HostRequest): Promise<IncomingMessage>;
}

export interface RemoteJobOptions {
  /** For people. */
  readonly hostName: string;
  /** How long the host may be away. */
  readonly patienceMs: number;
  /** The host is away for more than a moment. */
  readonly onAway?: (why: Error) => void;
  readonly onBack?: () => void;
  readonly signal?: AbortSignal | undefined;
}

/** What one request may take; the next one is another try. */
const ATTEMPT_MS = 5_000;
/** For a page of the list of jobs. */
const LIST_MS = 10_000;
/** For the answer to a piece of input, which waits for the program to read. */
const INPUT_MS = 25_000;
/** How long a follower hears nothing before it asks again: the host shows every 2 s that it is there. */
export const SILENCE_MS = 7_000;
/** How long failures may go on before they are worth a word. */
const AWAY_MS = 1_500;
const BACK_OFF = { minMs: 50, maxMs: 1_000 };
export class RemoteJob {
  /** Whether the host has had it. */
  private isKnown = false;

  constructor(
    private readonly host: JobHost,
    readonly id: string,
    private readonly options: RemoteJobOptions,
  ) {}

  /**
   * Starts it. The id makes it safe to ask again.
   * @throws what the host refuses it with; the error of the dial when it has certainly not been started; ERR_STARLANE_JOB_UNKNOWN
   */
  async submit(request: JobRequest): Promise<JobStatus> {
    let mayRun = false;
    try {
      return await this.persist(async () => {
        const onReached = () => {
          mayRun = true;
        };
        const status = (await this.ask('PUT', '', request, { onReached })) as JobStatus;
        this.isKnown = true;
        return status;
      });
    } catch (error) {
      throw codeOf(error) === 'ERR_STARLANE_JOB_UNKNOWN' && !mayRun ? (error as Error).cause : error;
    }
  }

  /** @throws ENOENT, EACCES; ERR_STARLANE_JOB_UNKNOWN */
  async status(): Promise<JobStatus> {
    return (await this.persist(() => this.ask('GET', ''))) as JobStatus;
  }

  /** @throws as {@link status} */
  async cancel(): Promise<JobStatus> {
    return (await this.persist(() => this.ask('POST', '/cancel'))) as JobStatus;
  }

  /** @throws as {@link status}; EBUSY while it runs */
  async remove(): Promise<void> {
    let isAgain = false;
    await this.persist(async () => {
      try {
        await this.ask('DELETE', '');
      } catch (error) {
        // The answer to an earlier try may have been lost.
        if (!isAgain || codeOf(error) !== 'ENOENT') throw error;
      } finally {
        isAgain = true;
      }
    });
  }

  /**
   * Gives on the output from a position on, each byte once, and resolves with the status of the job: when it has ended, or with
   * `isFollowed` false when everything that is there was given on. `sink` may make it wait.
   * @throws ENOENT, EACCES; ERR_STARLANE_JOB_LOST when the host has forgotten the job meanwhile; ERR_STARLANE_JOB_UNKNOWN
   */
  async follow(
    from: number,
    isFollowed: boolean,
    sink: (kind: OutputKind, data: Buffer, position: number) => Promise<void> | void,
  ): Promise<JobStatus> {
    let position = from;
    return this.persist(async (onAlive) => {
      let response: IncomingMessage;
      try {
        response = await this.open(`/output?from=${position}&follow=${isFollowed}`);
      } catch (error) {
        if (this.isKnown && codeOf(error) === 'ENOENT') {
          throw starlaneError('ERR_STARLANE_JOB_LOST', `${this.options.hostName} does not know the job any more`);
        }
        throw error;
      }
      this.isKnown = true;
      onAlive();
      let status: JobStatus | undefined;
      const pieces: Array<readonly [OutputKind, Buffer]> = [];
      const frames = new FrameReader(
        (kind, data) => pieces.push([kind, data]),
        (text) => {
          status = JSON.parse(text) as JobStatus;
        },
      );
      for await (const chunk of audible(response)) {
        onAlive();
        frames.push(chunk);
        for (const [kind, data] of pieces.splice(0)) {
          position += data.length;
          await sink(kind, data, position);
        }
      }
      if (status === undefined) throw codedError('ECONNRESET', 'the output was cut off');
      return status;
    });
  }

  /**
   * Sends a piece of its input, and resolves with what the host has taken of it all.
   * @throws as {@link status}
   */
  async sendInput(
    position: number,
    data: Uint8Array,
    isLast: boolean,
  ): Promise<{ readonly position: number; readonly open: boolean }> {
    const path = `/input?from=${position}${isLast ? '&last=true' : ''}`;
    // As many pieces may come as one caller may send requests a second.
    const answer = await this.persist(() => this.ask('POST', path, data, { timeoutMs: INPUT_MS }), isPassing);
    return answer as { position: number; open: boolean };
  }

  private ask(
    method: HostRequest['method'],
    path: string,
    body?: JobRequest | Uint8Array,
    more: Partial<Pick<HostRequest, 'timeoutMs' | 'onReached'>> = {},
  ): Promise<unknown> {
    const { signal } = this.options;
    const request = { method, path: `/v1/jobs/${this.id}${path}`, body, timeoutMs: ATTEMPT_MS, signal };
    return this.host.ask({ ...request, ...more });
  }

  private open(path: string): Promise<IncomingMessage> {
    const { signal } = this.options;
    return this.host.open({ method: 'GET', path: `/v1/jobs/${this.id}${path}`, timeoutMs: ATTEMPT_MS, signal });
  }

  /** Tries again while the host is away. @throws ERR_STARLANE_JOB_UNKNOWN when it is for too long */
  private async persist<T>(
    attempt: (onAlive: () => void) => Promise<T>,
    isRetried: (error: unknown) => boolean = isWayFault,
  ): Promise<T> {
    const { patienceMs, signal, hostName } = this.options;
    const absence = new Absence(this.options);
    let failures = 0;
    const onAlive = () => {
      absence.end();
      failures = 0;
    };
    try {
      for (;;) {
        try {
          const value = await attempt(onAlive);
          onAlive();
          return value;
        } catch (error) {
          signal?.throwIfAborted();
          if (!isRetried(error)) throw error;
          if (absence.begin(error as Error) >= patienceMs) {
            const what = `${hostName} is gone: the state of the job is unknown until it returns`;
            throw starlaneError('ERR_STARLANE_JOB_UNKNOWN', what, error);
          }
        }
        await pause(backOffMs(failures++, BACK_OFF, Math.random), signal);
      }
    } finally {
      absence.dispose();
    }
  }
}

/** Returns all jobs of a host that the caller may see, the oldest first. @throws what the host answers */
export async function listJobs(host: Pick<JobHost, 'ask'>): Promise<JobStatus[]> {
  const jobs: JobStatus[] = [];
  for (let after: string | undefined = ''; after !== undefined; ) {
    const request: HostRequest = { method: 'GET', path: `/v1/jobs?after=${after}`, timeoutMs: LIST_MS };
    const page = (await host.ask(request)) as { readonly jobs: readonly JobStatus[]; readonly next?: string };
    jobs.push(...page.jobs);
    after = page.next;
  }
  return jobs;
}

/** How long a host has not answered, and that somebody learns of it while a try still goes on. */
class Absence {
  private sinceMs: number | undefined;
  private isKnown = false;
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly options: Pick<RemoteJobOptions, 'onAway' | 'onBack'>) {}

  /** Returns for how long it has been away. */
  begin(why: Error): number {
    const now = performanceNow();
    if (this.sinceMs === undefined) {
      this.sinceMs = now;
      this.timer = setTimeout(() => {
        this.isKnown = true;
        this.options.onAway?.(why);
      }, AWAY_MS) as NodeJS.Timeout;
    }
    return now - this.sinceMs;
  }

  end(): void {
    this.dispose();
    this.sinceMs = undefined;
    if (this.isKnown) this.options.onBack?.();
    this.isKnown = false;
  }

  dispose(): void {
    clearTimeout(this.timer);
  }
}

/** Yields what comes. @throws ETIMEDOUT when nothing comes for too long while somebody waits for it */
async function* audible(response: IncomingMessage): AsyncGenerator<Buffer> {
  const pieces = (response as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  try {
    for (;;) {
      const timer = setTimeout(() => response.destroy(codedError('ETIMEDOUT', 'the host is silent')), SILENCE_MS);
      const next = await pieces.next().finally(() => clearTimeout(timer));
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    response.destroy();
  }
}
