// What is known of a job, as it is kept on disk and as callers get it: plain JSON.

import type { ErrorCode } from '../../../errors.js';
import type { ProcessIdentity } from '../process-identity.js';

/** How a job has ended. */
export type JobEndKind =
  /** By itself; `exitCode` says how. */
  | 'exited'
  /** By a signal that was not sent for any of the reasons below. */
  | 'signalled'
  | 'cancelled'
  | 'timed-out'
  /** It has written more than it may; as much as it may is kept. */
  | 'output-limit'
  /** Its caller has gone before the end of its input. */
  | 'input-lost'
  /** The program could not be started. */
  | 'not-started'
  /** The agent or its machine ended while it ran: what it has done is not known. */
  | 'lost';

export interface JobEnd {
  readonly kind: JobEndKind;
  /** Of the program, where it is known. */
  readonly exitCode?: number | undefined;
  readonly signal?: string | undefined;
  /** For all but 'exited' and 'signalled'. */
  readonly error?: { readonly code: ErrorCode; readonly message: string } | undefined;
}

/** The caller that started a job. */
export interface JobOwner {
  /** The id of the node. */
  readonly id: string;
  readonly name?: string | undefined;
}

export interface JobRecord {
  /** A uuid that the caller has made. */
  readonly id: string;
  readonly command: string;
  readonly params: Readonly<Record<string, string>>;
  readonly env: Readonly<Record<string, string>>;
  readonly input: boolean;
  readonly owner: JobOwner;
  /** 'starting': it may run already. */
  readonly state: 'starting' | 'running' | 'ended';
  /** Since 1970, by the clock of the host. */
  readonly createdMs: number;
  readonly endedMs?: number | undefined;
  /** How long it is kept when it has ended. */
  readonly keepMs: number;
  readonly process?: ProcessIdentity | undefined;
  readonly end?: JobEnd | undefined;
  /** Bytes of output that are kept, when it has ended. */
  readonly outputBytes?: number | undefined;
}

/** What callers learn of a job. */
export interface JobStatus extends Omit<JobRecord, 'process'> {
  readonly outputBytes: number;
  /** Bytes of input that the host has taken. */
  readonly inputBytes: number;
  /** Whether the program still takes input. */
  readonly inputOpen: boolean;
}

const ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const STATES: ReadonlySet<unknown> = new Set(['starting', 'running', 'ended'] satisfies Array<JobRecord['state']>);
const KINDS: ReadonlySet<unknown> = new Set([
  'exited',
  'signalled',
  'cancelled',
  'timed-out',
  'output-limit',
  'input-lost',
  'not-started',
  'lost',
] satisfies JobEndKind[]);

/** Whether the text is an id of a job, which is also the name of its folder. */
export function isJobId(text: string): boolean {
  return ID.test(text);
}

/** Returns the record that a file holds; undefined when it holds none. */
export function parseRecord(id: string, text: string): JobRecord | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isObject(value)) return undefined;
  const { command, params, env, input, owner, state, createdMs, endedMs, keepMs, process, end } = value;
  const isSound =
    value['id'] === id &&
    typeof command === 'string' &&
    isTexts(params) &&
    isTexts(env) &&
    typeof input === 'boolean' &&
    isObject(owner) &&
    typeof owner['id'] === 'string' &&
    STATES.has(state) &&
    isNumber(createdMs) &&
    isNumber(keepMs) &&
    (process === undefined || (isObject(process) && isNumber(process['pid']))) &&
    (state !== 'ended' || (isNumber(endedMs) && isObject(end) && KINDS.has(end['kind'])));
  return isSound ? (value as unknown as JobRecord) : undefined;
}

/** Returns the record for a job of which nothing can be read. */
export function unreadableRecord(id: string, nowMs: number, keepMs: number): JobRecord {
  return {
    id,
    command: '?',
    params: {},
    env: {},
    input: false,
    owner: { id: '' },
    state: 'ended',
    createdMs: nowMs,
    endedMs: nowMs,
    keepMs,
    end: lostEnd('what the host has kept of it cannot be read'),
  };
}

export function lostEnd(why: string): JobEnd {
  return { kind: 'lost', error: { code: 'ERR_STARLANE_JOB_LOST', message: why } };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isTexts(value: unknown): boolean {
  return isObject(value) && Object.values(value).every((text) => typeof text === 'string');
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value);
}
