// Jobs as a part of the agent: its routes below /v1/jobs, and what they answer.

import type { ServerResponse } from 'node:http';
import { starlaneError } from '../../../errors.js';
import { Pattern } from '../../../util/pattern.js';
import { clearTimeout, dateNow, setTimeout } from '../../../util/runtime/real-timers.js';
import { sharedTimers, type Timers } from '../../../util/timers.js';
import { codedError, lineOf } from '../../failure.js';
import { bytesOf, jsonOf } from '../answer.js';
import { inheritedFrom } from '../inherited.js';
import type { AgentHost, AgentPart } from '../part.js';
import type { Call, Route } from '../routes.js';
import type { JobCommand, JobCommands, JobRequest } from './declared.js';
import { FrameKind, headerOf } from './frames.js';
import { MAX_INPUT_BYTES } from './input.js';
import type { Job } from './job.js';
import { type JobCaller, type JobLimits, Jobs, placeOf } from './jobs.js';
import { startProcess } from './process.js';
import type { JobStatus } from './record.js';
import { JobStore } from './store.js';

/** How often a reader that waits for output learns that the host is there. */
export const ALIVE_MS = 2_000;
/** Nothing is declared. */
const NONE = '{}';
/** Characters of one page of the list of jobs, besides its last job. In UTF-8 that fits into what a caller reads. */
const PAGE_CHARS = 1024 * 1024;

export class JobsPart implements AgentPart {
  readonly routes: readonly Route[];
  private jobs: Jobs | undefined;
  private host: AgentHost | undefined;
  /** What `jobs` was read from. */
  private declared: string | undefined;

  constructor(
    private readonly timers: Timers = sharedTimers,
    private readonly launch = startProcess,
  ) {
    this.routes = [
      { method: 'GET', path: '/v1/commands', handle: (call) => this.commands(call) },
      { method: 'GET', path: '/v1/jobs', handle: (call) => this.list(call) },
      { method: 'PUT', path: '/v1/jobs/:id', handle: (call) => this.submit(call) },
      { method: 'GET', path: '/v1/jobs/:id', handle: (call) => this.all.status(call.params['id'], callerOf(call)) },
      { method: 'DELETE', path: '/v1/jobs/:id', handle: (call) => this.all.remove(call.params['id'], callerOf(call)) },
      {
        method: 'POST',
        path: '/v1/jobs/:id/cancel',
        handle: (call) => this.all.cancel(call.params['id'], callerOf(call)),
      },
      { method: 'POST', path: '/v1/jobs/:id/input', handle: (call) => this.takeInput(call) },
      { method: 'GET', path: '/v1/jobs/:id/output', handle: (call) => this.sendOutput(call) },
    ];
  }

  async start(host: AgentHost): Promise<void> {
    this.host = host;
    const { jobs, limits } = this.configured();
    const commands = await commandsOf(jobs);
    this.declared = jobs;
    this.jobs = new Jobs(
      {
        store: new JobStore(host.folder.jobs),
        timers: this.timers,
        now: dateNow,
        startProcess: this.launch,
        inherited: () => inheritedFrom(host.environment, host.options.passEnv),
        warn: (text) => host.log.warn(text),
      },
      commands,
      limits,
    );
    await this.jobs.open();
  }

  onOptions(): void {
    const { jobs, limits } = this.configured();
    commandsOf(jobs).then(
      (commands) => {
        this.declared = jobs;
        this.jobs?.configure(commands, limits);
      },
      (error) => this.host?.log.error(`${lineOf(error)}; the jobs stay as they were`),
    );
  }

  async stop(signal: AbortSignal): Promise<void> {
    await this.jobs?.close(signal);
    this.jobs = undefined;
  }

  status(): Record<string, unknown> {
    const { jobs } = this;
    if (jobs === undefined || (jobs.size === 0 && this.declared === NONE)) return {};
    return { jobs: jobs.running, keptJobs: jobs.size - jobs.running };
  }

  private configured(): { jobs: string; limits: JobLimits } {
    const { jobs, maxJobs, maxJobsCaller, keepJobs, maxJobsDiskBytes } = (this.host as AgentHost).options;
    const limits = {
      maxRunning: maxJobs,
      maxRunningPerCaller: maxJobsCaller,
      maxKept: keepJobs,
      maxKeptBytes: maxJobsDiskBytes,
    };
    return { jobs, limits };
  }

  private get all(): Jobs {
    if (this.jobs === undefined) throw codedError('EAGAIN', 'the agent is about to end');
    return this.jobs;
  }

  private commands(call: Call): unknown {
    const commands = this.all.commandsFor(callerOf(call)).map(({ name, params, callerEnv, stdin }) => ({
      name,
      params: [...params].map(([param, { pattern, byDefault }]) => ({
        name: param,
        pattern: pattern.source.slice('^(?:'.length, -')$'.length),
        default: byDefault,
      })),
      env: [...callerEnv.keys()],
      stdin,
    }));
    return { commands };
  }

  /** Answers with the jobs behind the place `after`, and with the place to go on from when there are more. */
  private list(call: Call): { readonly jobs: readonly JobStatus[]; readonly next?: string } {
    const after = call.query.get('after') ?? '';
    const jobs: JobStatus[] = [];
    let chars = 0;
    for (const job of this.all.list(callerOf(call))) {
      if (placeOf(job) <= after) continue;
      if (chars > PAGE_CHARS) return { jobs, next: placeOf(jobs.at(-1) as JobStatus) };
      chars += JSON.stringify(job).length;
      jobs.push(job);
    }
    return { jobs };
  }

  private async submit(call: Call): Promise<unknown> {
    const body = await jsonOf(call.request);
    return this.all.submit(call.params['id'], requestOf(body), callerOf(call));
  }

  private async takeInput(call: Call): Promise<unknown> {
    const from = positionOf(call);
    // Looked for first: what nobody may send is not read.
    this.all.find(call.params['id'], callerOf(call));
    const data = await bytesOf(call.request, MAX_INPUT_BYTES);
    const isLast = call.query.get('last') === 'true';
    return this.all.takeInput(call.params['id'], from, data, isLast, callerOf(call));
  }

  private async sendOutput(call: Call): Promise<void> {
    const from = positionOf(call);
    const job = this.all.find(call.params['id'], callerOf(call));
    const { response, signal } = call;
    response.writeHead(200, { 'content-type': 'application/octet-stream' });
    await sendFrames(job, from, call.query.get('follow') === 'true', response, signal);
  }
}

/** @throws Failure */
async function commandsOf(text: string): Promise<JobCommands> {
  if (text === NONE) return new Map();
  return (await import('./declarations.js')).readJobCommands(text);
}

/** Sends what there is from a position on, and what comes while the job runs, and its status at the end. */
async function sendFrames(
  job: Job,
  from: number,
  isFollowed: boolean,
  response: ServerResponse,
  signal: AbortSignal,
): Promise<void> {
  const reader = job.read(from);
  let wake: () => void = () => {};
  const release = job.onChange(() => wake());
  const onAbort = () => wake();
  signal.addEventListener('abort', onAbort, { once: true });
  response.on('drain', onAbort);
  const woken = (timeoutMs?: number): Promise<void> =>
    new Promise((resolve) => {
      const timer = timeoutMs === undefined ? undefined : setTimeout(() => wake(), timeoutMs);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  try {
    while (!signal.aborted) {
      // Asked first: what is read after the end is all there is.
      const isComplete = job.hasEnded;
      let hasChanged = false;
      wake = () => {
        hasChanged = true;
      };
      const block = await reader.next();
      if (signal.aborted) return;
      if (block.length > 0) {
        response.write(block);
        while (response.writableNeedDrain && !signal.aborted) await woken();
        continue;
      }
      if (isComplete || !isFollowed) {
        const status = Buffer.from(JSON.stringify(job.status));
        response.end(Buffer.concat([headerOf(FrameKind.STATUS, status.length), status]));
        return;
      }
      if (hasChanged) continue;
      await woken(ALIVE_MS);
      if (!signal.aborted) response.write(headerOf(FrameKind.ALIVE, 0));
    }
  } finally {
    release();
    response.off('drain', onAbort);
    await reader.close();
  }
}

function callerOf({ caller: { id, name }, rights }: Call): JobCaller {
  return {
    id,
    ...(name === undefined ? {} : { name }),
    maySee: (command, isOwn) => rights.may('all-jobs', command) || (isOwn && rights.may('jobs', command)),
    mayStart: ({ name: command, allow }: JobCommand) =>
      rights.may('jobs', command) &&
      (allow === undefined || (name !== undefined && allow.some((pattern) => new Pattern(pattern).fits(name)))),
  };
}

function positionOf({ query }: Call): number {
  const text = query.get('from') ?? '0';
  const position = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(position)) throw starlaneError('ERR_STARLANE_ARGUMENT', 'from must be a position');
  return position;
}

function requestOf({ command, params = {}, env = {}, input = false }: Readonly<Record<string, unknown>>): JobRequest {
  if (typeof command !== 'string' || typeof input !== 'boolean' || !areTexts(params) || !areTexts(env)) {
    throw starlaneError('ERR_STARLANE_ARGUMENT', 'must have a command, params and env with texts, and input');
  }
  return { command, params, env, input };
}

function areTexts(value: unknown): value is Readonly<Record<string, string>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  return Object.values(value).every((text) => typeof text === 'string');
}
