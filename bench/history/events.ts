// The lines of a history: what each process writes down of itself, and what the run does to the processes. Times are in ms of the
// monotonic clock of the machine, which all its processes share.

export type MessageKind = 'send' | 'call';

/** How the content travels: within a frame of the lane, as a body of its own, or as a stream whose length nobody knows. */
export type BodyKind = 'small' | 'large' | 'stream';

/** Written before the send or call begins. */
export interface SendEvent {
  readonly e: 'send';
  readonly t: number;
  /** The sender's process, and the number of the message there: `a.0/17`. */
  readonly u: string;
  readonly kind: MessageKind;
  /** The service, or '@' and the node id. */
  readonly to: string;
  /** The processes that can get it, by name. */
  readonly at: readonly string[];
  readonly body: BodyKind;
  readonly timeoutMs: number;
  readonly key?: string;
  readonly idempotent?: boolean;
  /** Aborted by its sender after so many ms. */
  readonly abortMs?: number;
  /** What the handler is asked to do. */
  readonly throws?: boolean;
  readonly slowMs?: number;
}

/** Written when the promise of the send or call has settled. */
export interface OutcomeEvent {
  readonly e: 'outcome';
  readonly t: number;
  readonly u: string;
  /** 'none': an error that does not say. */
  readonly outcome: 'handled' | 'not-handled' | 'unknown' | 'none';
  readonly code?: string;
  readonly why?: string;
  /** The node that has handled it, as far as the outcome says. */
  readonly nodeId?: string;
  /** What the answer of a call says about its run: the receiver's process. */
  readonly by?: string;
}

/** Written as the first act of a handler. */
export interface BeginEvent {
  readonly e: 'begin';
  readonly t: number;
  /** Counts the runs of this process. */
  readonly run: number;
  /** Undefined if the content broke before it said which message it is. */
  readonly u?: string;
  readonly kind: MessageKind;
  readonly service: string;
  readonly from?: string;
  readonly key?: string;
}

/** Written as the last act of a handler. */
export interface EndEvent {
  readonly e: 'end';
  readonly t: number;
  readonly run: number;
  readonly how: 'returned' | 'threw';
  /** What arrived is not what was sent. */
  readonly damage?: string;
}

/** The process has a node, which can be reached. */
export interface UpEvent {
  readonly e: 'up';
  readonly t: number;
  readonly nodeId: string;
}

/** The process has come to an orderly end: every send has its outcome, and no handler runs. */
export interface ClosedEvent {
  readonly e: 'closed';
  readonly t: number;
  /** Sends without an outcome at the deadline. */
  readonly open: number;
  readonly stats?: unknown;
}

export type ProcessEvent = SendEvent | OutcomeEvent | BeginEvent | EndEvent | UpEvent | ClosedEvent;

export type FaultKind = 'cut' | 'isolate' | 'silence' | 'kill' | 'stop' | 'restart';

/** Something that the run has done to a link or a process. */
export interface FaultEvent {
  readonly e: 'fault';
  readonly t: number;
  readonly kind: FaultKind;
  /** The processes whose links or life it was. */
  readonly of: readonly string[];
  /** When it was over: the link open, the process running again. */
  readonly until: number;
  readonly detail: string;
}

/** A process has ended. */
export interface ExitEvent {
  readonly e: 'exit';
  readonly t: number;
  readonly process: string;
  readonly how: string;
  /** By the will of the run. */
  readonly meant: boolean;
  readonly errors?: string;
}

export type RunEvent = FaultEvent | ExitEvent;

/** What one process has written. */
export interface ProcessLog {
  /** Name and incarnation: `a.0`. */
  readonly process: string;
  readonly events: readonly ProcessEvent[];
}

export interface History {
  readonly logs: readonly ProcessLog[];
  readonly run: readonly RunEvent[];
}

/** Returns the name of a process without its incarnation. */
export function nameOf(process: string): string {
  return process.slice(0, process.lastIndexOf('.'));
}

/** Returns the process that sent a message, by the message's name. */
export function senderOf(u: string): string {
  return u.slice(0, u.lastIndexOf('/'));
}

/** Returns the number of a message at its sender, by the message's name. */
export function numberOf(u: string): number {
  return Number(u.slice(u.lastIndexOf('/') + 1));
}

/** Returns the time, by the clock that all processes of the machine share. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint() / 1000n) / 1000;
}
