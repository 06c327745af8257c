// The jobs of a host: who may start, see and end which ones, how many there may be, and what becomes of those of an earlier run.

import { isDeepStrictEqual } from 'node:util';
import { starlaneError } from '../../../errors.js';
import { Deadline } from '../../../util/deadline.js';
import { RecentMap } from '../../../util/recent-map.js';
import type { Timers } from '../../../util/timers.js';
import { codedError } from '../../failure.js';
import { killLeftover } from '../process-identity.js';
import { type JobCommand, type JobCommands, type JobRequest, programFor } from './declared.js';
import type { InputState } from './input.js';
import { Job, type JobPorts } from './job.js';
import type { startProcess } from './process.js';
import { isJobId, type JobOwner, type JobStatus, lostEnd } from './record.js';
import type { JobStore } from './store.js';

export interface JobLimits {
  /** Jobs that run at once, of all callers, and of one. */
  readonly maxRunning: number;
  readonly maxRunningPerCaller: number;
  /** Jobs that have ended and are kept, and the bytes of their output. One caller has at most half of both. */
  readonly maxKept: number;
  readonly maxKeptBytes: number;
}

/** The node that asks for something. */
export interface JobCaller extends JobOwner {
  mayStart(command: JobCommand): boolean;
  /** Whether the caller may see and end jobs of a command: its own ones, or those of others. */
  maySee(command: string, isOwn: boolean): boolean;
}

export interface JobsOptions {
  readonly store: JobStore;
  readonly timers: Timers;
  /** Since 1970. */
  readonly now: () => number;
  readonly startProcess: typeof startProcess;
  /** What programs get of the environment of the agent. */
  readonly inherited: () => Readonly<Record<string, string>>;
  readonly warn: (text: string) => void;
}

/** How often jobs are removed whose time is over. */
const SWEEP_MS = 60_000;
/** How long a job is kept whose record cannot be read. */
const UNREADABLE_KEEP_MS = 24 * 3_600_000;
/** Ids of jobs that were removed: sent once more, they start nothing. */
const MAX_REMOVED = 10_000;

export class Jobs {
  /** By id; the oldest first. */
  private readonly jobs = new Map<string, Job>();
  private readonly starting = new Map<string, Promise<void>>();
  private readonly removed = new RecentMap<string, true>(MAX_REMOVED);
  private readonly ports: JobPorts;
  private readonly sweeper: Deadline;
  private isEnding = false;
  private pruning: Promise<void> = Promise.resolve();
  private whenIdle: (() => void) | undefined;

  constructor(
    private readonly options: JobsOptions,
    private commands: JobCommands,
    private limits: JobLimits,
  ) {
    this.ports = { ...options, onEnded: () => this.onEnded() };
    this.sweeper = new Deadline(options.timers, () => this.onSweep());
  }

  /** Jobs that run. */
  get running(): number {
    let count = 0;
    for (const job of this.jobs.values()) if (!job.hasEnded) count++;
    return count;
  }

  get size(): number {
    return this.jobs.size;
  }

  /** Takes other declarations and limits for what comes. */
  configure(commands: JobCommands, limits: JobLimits): void {
    this.commands = commands;
    this.limits = limits;
  }

  /**
   * Takes up the jobs of earlier runs. Those that ran are lost: their programs are killed if they are there still, and nobody knows what they
   * have done.
   * @throws as node:fs
   */
  async open(): Promise<void> {
    const { store, now, warn } = this.options;
    const records = await store.load(now(), UNREADABLE_KEEP_MS);
    records.sort((a, b) => a.createdMs - b.createdMs);
    for (let record of records) {
      if (record.state !== 'ended') {
        if (record.process !== undefined) killLeftover(record.process);
        const end = lostEnd('the agent or its machine ended while the job ran');
        record = { ...record, state: 'ended', endedMs: now(), end };
      }
      if (record.outputBytes === undefined) {
        const outputBytes = await store.outputBytes(record.id).catch(() => 0);
        record = { ...record, outputBytes };
        await store.write(record).catch((error) => warn(`job ${record.id}: ${(error as Error).message}`));
      }
      this.jobs.set(record.id, new Job(record, this.ports));
    }
    await this.prune();
    this.sweeper.set(SWEEP_MS);
  }

  /**
   * Starts a job with an id that the caller has made. The same once more starts nothing and returns what has become of the first one.
   * @throws EACCES; ENOENT; EAGAIN; EEXIST for an id of another job; ERR_STARLANE_ARGUMENT; what writing to the disk fails with
   */
  async submit(id: string, request: JobRequest, caller: JobCaller): Promise<JobStatus> {
    if (!isJobId(id)) throw starlaneError('ERR_STARLANE_ARGUMENT', 'the id of a job must be a uuid in small letters');
    const known = this.jobs.get(id);
    if (known !== undefined) return this.submittedAgain(known, request, caller);
    if (this.removed.has(id)) throw codedError('ENOENT', `the job ${id} was removed`);
    const command = this.commands.get(request.command);
    // A caller that may not start it does not learn whether it is there.
    if (command === undefined || !caller.mayStart(command)) {
      throw codedError(
        'EACCES',
        `the host has no command ${JSON.stringify(request.command.slice(0, 64))} that its rules let you start; starlane job commands HOST lists those`,
      );
    }
    const program = programFor(command, request, this.options.inherited());
    this.checkRoom(command, caller);
    const { name } = caller;
    const job = new Job(
      {
        id,
        command: command.name,
        params: request.params,
        env: request.env,
        input: request.input && command.stdin,
        owner: { id: caller.id, ...(name === undefined ? {} : { name }) },
        state: 'starting',
        createdMs: this.options.now(),
        keepMs: command.keepMs,
      },
      this.ports,
    );
    this.jobs.set(id, job);
    const started = job.start(command, program);
    this.starting.set(id, started);
    try {
      await started;
    } catch (error) {
      // It was not written down, and has not run.
      this.jobs.delete(id);
      this.whenIdle?.();
      throw error;
    } finally {
      this.starting.delete(id);
    }
    return job.status;
  }

  /** @throws ENOENT, EACCES */
  status(id: string, caller: JobCaller): JobStatus {
    return this.find(id, caller).status;
  }

  /** Returns the jobs that the caller may see, the oldest first. */
  list(caller: JobCaller): JobStatus[] {
    return [...this.jobs.values()]
      .filter((job) => maySee(job, caller))
      .map((job) => job.status)
      .sort((a, b) => (placeOf(a) < placeOf(b) ? -1 : 1));
  }

  /** Returns a job to be read. @throws ENOENT, EACCES */
  find(id: string, caller: JobCaller): Job {
    const job = this.jobs.get(id);
    if (job === undefined) {
      throw codedError(
        'ENOENT',
        this.removed.has(id) ? `the job ${id} was removed` : `there is no job ${id.slice(0, 64)}`,
      );
    }
    if (!maySee(job, caller)) {
      const isOwn = job.record.owner.id === caller.id;
      throw codedError(
        'EACCES',
        isOwn ? 'the rules of this host no longer let you see it' : 'the job is of another caller',
      );
    }
    return job;
  }

  /** Takes a piece of the input of a job of the caller. @throws as {@link find} and {@link Job.takeInput} */
  takeInput(id: string, from: number, data: Buffer, isLast: boolean, caller: JobCaller): Promise<InputState> {
    const job = this.find(id, caller);
    if (job.record.owner.id !== caller.id)
      throw codedError('EACCES', 'only the caller that started a job may send its input');
    return job.takeInput(from, data, isLast);
  }

  /** Ends a job. Does nothing when it has ended. @throws ENOENT, EACCES */
  cancel(id: string, caller: JobCaller): JobStatus {
    const job = this.find(id, caller);
    job.stop('cancelled', `it was cancelled by ${caller.name ?? `@${caller.id}`}`);
    return job.status;
  }

  /** Removes a job that has ended. @throws ENOENT, EACCES; EBUSY when it runs */
  async remove(id: string, caller: JobCaller): Promise<void> {
    const job = this.find(id, caller);
    if (!job.hasEnded) throw codedError('EBUSY', `the job ${id} runs; cancel it first`);
    await this.drop(job);
  }

  /** Returns the commands that the caller may start. */
  commandsFor(caller: JobCaller): JobCommand[] {
    return [...this.commands.values()].filter((command) => caller.mayStart(command));
  }

  /** Ends all jobs as lost, each within its time or at once when the signal aborts, and takes no more. Resolves when all have ended. */
  async close(signal: AbortSignal): Promise<void> {
    this.isEnding = true;
    this.sweeper.clear();
    await Promise.allSettled(this.starting.values());
    for (const job of this.jobs.values()) job.stop('lost', 'the agent was stopped while the job ran');
    await this.pruning;
    if (this.running === 0) return;
    const kill = () => {
      for (const job of this.jobs.values()) job.kill();
    };
    if (signal.aborted) kill();
    else signal.addEventListener('abort', kill, { once: true });
    await new Promise<void>((resolve) => {
      this.whenIdle = () => {
        if (this.running === 0) resolve();
      };
    });
  }

  private async submittedAgain(job: Job, request: JobRequest, caller: JobCaller): Promise<JobStatus> {
    if (job.record.owner.id !== caller.id) throw codedError('EACCES', 'the job is of another caller');
    this.find(job.id, caller);
    const { command, params, env } = job.record;
    const asked = { command: request.command, params: request.params, env: request.env };
    const isSame = isDeepStrictEqual({ command, params, env }, asked);
    if (!isSame) throw codedError('EEXIST', `the id ${job.id} is that of another job`);
    await this.starting.get(job.id);
    return job.status;
  }

  private checkRoom(command: JobCommand, caller: JobCaller): void {
    if (this.isEnding) throw codedError('EAGAIN', 'the agent is about to end');
    const { maxRunning, maxRunningPerCaller } = this.limits;
    let all = 0;
    let ofCommand = 0;
    let ofCaller = 0;
    for (const job of this.jobs.values()) {
      if (job.hasEnded) continue;
      all++;
      if (job.record.command === command.name) ofCommand++;
      if (job.record.owner.id === caller.id) ofCaller++;
    }
    if (ofCaller >= maxRunningPerCaller) throw codedError('EAGAIN', `${ofCaller} jobs of yours run, and no more may`);
    if (ofCommand >= command.maxRunning)
      throw codedError('EAGAIN', `${ofCommand} jobs of ${command.name} run, and no more may`);
    if (all >= maxRunning) throw codedError('EAGAIN', `${all} jobs run on this host, and no more may`);
  }

  private onEnded(): void {
    this.whenIdle?.();
    this.pruneSoon();
  }

  /** One after the other: removing takes its time. */
  private pruneSoon(): void {
    this.pruning = this.pruning.then(() => this.prune());
  }

  private onSweep(): void {
    this.sweeper.set(SWEEP_MS);
    for (const job of this.jobs.values()) void job.save();
    this.pruneSoon();
  }

  /** Removes jobs whose time is over, and the oldest where there are too many: of a caller with more than half first. */
  private async prune(): Promise<void> {
    const { maxKept, maxKeptBytes } = this.limits;
    const now = this.options.now();
    const drop: Job[] = [];
    const kept: Job[] = [];
    const ended = [...this.jobs.values()].filter((job) => job.hasEnded);
    ended.sort((a, b) => (a.record.endedMs ?? 0) - (b.record.endedMs ?? 0));
    for (const job of ended) {
      const { endedMs = now, keepMs } = job.record;
      (now - endedMs >= keepMs ? drop : kept).push(job);
    }
    const owners = new Map<string, Job[]>();
    for (const job of kept) {
      const { id } = job.record.owner;
      owners.set(id, [...(owners.get(id) ?? []), job]);
    }
    const dropOldest = (jobs: readonly Job[], count: number, bytes: number): void => {
      let leftBytes = jobs.reduce((sum, { outputBytes }) => sum + outputBytes, 0);
      let left = jobs.length;
      for (const job of jobs) {
        // The last one stays, whatever its size: somebody waits for it.
        if ((left <= count && leftBytes <= bytes) || left <= 1) return;
        left--;
        leftBytes -= job.outputBytes;
        drop.push(job);
      }
    };
    if (owners.size > 1) for (const jobs of owners.values()) dropOldest(jobs, maxKept / 2, maxKeptBytes / 2);
    const dropped = new Set(drop);
    dropOldest(
      kept.filter((job) => !dropped.has(job)),
      maxKept,
      maxKeptBytes,
    );
    for (const job of drop) {
      await this.drop(job).catch((error) => this.options.warn(`job ${job.id}: ${(error as Error).message}`));
    }
  }

  private async drop(job: Job): Promise<void> {
    this.jobs.delete(job.id);
    this.removed.set(job.id, true);
    await this.options.store.remove(job.id);
  }
}

function maySee(job: Job, caller: JobCaller): boolean {
  const { command, owner } = job.record;
  return caller.maySee(command, owner.id === caller.id);
}

/** Returns where a job stands in the list of all. It never changes, so a reader can go on behind a job that was removed meanwhile. */
export function placeOf({ createdMs, id }: Pick<JobStatus, 'createdMs' | 'id'>): string {
  return `${String(createdMs).padStart(16, '0')}.${id}`;
}
