// Jobs of a host whose programs are played by a spec, in a folder of their own, with time that moves only when the spec says so.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { type JobCommand, type JobRequest, wholePattern } from '../../lib/cli/agent/jobs/declared.js';
import { FrameKind, FrameReader } from '../../lib/cli/agent/jobs/frames.js';
import { type JobCaller, type JobLimits, Jobs } from '../../lib/cli/agent/jobs/jobs.js';
import type { JobProcess } from '../../lib/cli/agent/jobs/process.js';
import { JobStore } from '../../lib/cli/agent/jobs/store.js';
import type { ProcessIdentity } from '../../lib/cli/agent/process-identity.js';
import { Timers } from '../../lib/util/timers.js';
import { FakeClock } from './fake-clock.js';

export function jobCommand(more: Partial<JobCommand> = {}): JobCommand {
  return {
    name: 'backup',
    run: ['/usr/bin/backup', '{db}'],
    params: new Map([['db', { pattern: wholePattern('[a-z]+'), byDefault: 'main', mayBeOption: false }]]),
    env: {},
    callerEnv: new Map(),
    cwd: undefined,
    user: undefined,
    stdin: true,
    timeoutMs: 60_000,
    graceMs: 1_000,
    inputMs: 30_000,
    maxOutputBytes: 1_000,
    maxRunning: 10,
    keepMs: 3_600_000,
    allow: undefined,
    ...more,
  };
}

export function jobRequest(more: Partial<JobRequest> = {}): JobRequest {
  return { command: 'backup', params: {}, env: {}, input: false, ...more };
}

export function jobCaller(id: string, more: Partial<JobCaller> = {}): JobCaller {
  return { id, name: id, maySee: (_command, isOwn) => isOwn, mayStart: () => true, ...more };
}

export function jobId(number: number): string {
  return `01890a5d-ac96-774b-bcce-${String(number).padStart(12, '0')}`;
}

/** A program that does what a spec says. */
export class HandProcess implements JobProcess {
  readonly stdin: PassThrough | null;
  readonly stdout = new PassThrough();
  readonly stderr = new PassThrough();
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  stops = 0;
  kills = 0;
  private readonly end: (end: { code: number | null; signal: NodeJS.Signals | null }) => void;

  constructor(
    readonly argv: readonly string[],
    hasInput: boolean,
    readonly identity: ProcessIdentity,
  ) {
    this.stdin = hasInput ? new PassThrough() : null;
    let end: HandProcess['end'] = () => {};
    this.ended = new Promise((resolve) => {
      end = resolve;
    });
    this.end = end;
  }

  stop = (): void => void this.stops++;
  kill = (): void => void this.kills++;

  /** Ends it, with its outputs unless others hold them open. */
  exit(code: number | null, signal: NodeJS.Signals | null = null, holdsOutput = false): void {
    if (!holdsOutput) {
      this.stdout.end();
      this.stderr.end();
    }
    this.end({ code, signal });
  }
}

export class HandJobs {
  readonly clock = new FakeClock();
  readonly timers = new Timers(this.clock);
  readonly folder = mkdtempSync(join(tmpdir(), 'starlane-jobs-'));
  readonly processes: HandProcess[] = [];
  readonly warnings: string[] = [];
  /** What the next starts fail with. */
  failure: Error | undefined;
  jobs!: Jobs;

  static async open(
    commands: readonly JobCommand[] = [jobCommand()],
    limits: Partial<JobLimits> = {},
  ): Promise<HandJobs> {
    const made = new HandJobs();
    await made.restart(commands, limits);
    return made;
  }

  /** Begins again with the same folder, as an agent does that was killed. */
  async restart(commands: readonly JobCommand[] = [jobCommand()], limits: Partial<JobLimits> = {}): Promise<void> {
    // What is being removed is nothing of the one that begins.
    if (this.jobs !== undefined) await this.pruned();
    this.jobs = new Jobs(
      {
        store: new JobStore(join(this.folder, 'jobs')),
        timers: this.timers,
        now: () => this.clock.now(),
        startProcess: async (_command, program, hasInput) => {
          if (this.failure !== undefined) throw this.failure;
          // No process has this number.
          const made = new HandProcess(program.argv, hasInput, { pid: 2 ** 30 });
          this.processes.push(made);
          return made;
        },
        inherited: () => ({}),
        warn: (text) => this.warnings.push(text),
      },
      new Map(commands.map((command) => [command.name, command])),
      { maxRunning: 100, maxRunningPerCaller: 100, maxKept: 100, maxKeptBytes: 1_000_000, ...limits },
    );
    await this.jobs.open();
  }

  get last(): HandProcess {
    return this.processes[this.processes.length - 1];
  }

  /** Resolves when everything is removed that has to be. */
  async pruned(): Promise<void> {
    await (Reflect.get(this.jobs, 'pruning') as Promise<void>);
  }

  /** Resolves when a job has ended. */
  ended(id: string, caller: JobCaller): Promise<void> {
    const job = this.jobs.find(id, caller);
    return new Promise((resolve) => {
      const look = () => {
        if (!job.hasEnded) return;
        release();
        resolve();
      };
      const release = job.onChange(look);
      look();
    });
  }

  /** Resolves when so much of its output is on disk. */
  printed(id: string, caller: JobCaller, bytes: number): Promise<void> {
    const job = this.jobs.find(id, caller);
    return new Promise((resolve) => {
      const look = () => {
        if (job.outputBytes < bytes) return;
        release();
        resolve();
      };
      const release = job.onChange(look);
      look();
    });
  }

  /** The output of a job that is on disk: of both, as `1` and `2` with what came. */
  async output(id: string, caller: JobCaller, from = 0): Promise<{ stdout: string; stderr: string }> {
    const found = { stdout: '', stderr: '' };
    const frames = new FrameReader(
      (kind, data) => {
        found[kind === FrameKind.STDOUT ? 'stdout' : 'stderr'] += data.toString();
      },
      () => {},
    );
    const reader = this.jobs.find(id, caller).read(from);
    for (let block = await reader.next(); block.length > 0; block = await reader.next()) frames.push(block);
    await reader.close();
    return found;
  }

  dispose(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
