// Resets: why a stream was reset, and streams that the peer resets in large numbers.

import { codeOf, type StarlaneError, type StarlaneErrorCode, starlaneError } from '../../errors.js';
import { NextTurn } from '../../util/next-turn.js';
import { systemClock } from '../../util/timers.js';
import type { MuxStream } from './stream.js';
import { StreamState } from './stream-state.js';

// --- reasons ---
//
// Between Starlane nodes an RST carries its reason in the length field, which yamux does not use there: the reason in the low byte, and in
// the next byte the number of hops to its origin. Relays pass it on.

/** The numbers are part of the wire: append only. */
export const ResetReason = {
  /** A user has reset the stream, or there is nothing to report. */
  NONE: 0,
  /** A link of the circuit was lost. */
  LINK_LOST: 1,
  /** A relay needs the memory. */
  RELAY_LIMIT: 2,
  /** A relay is closing. */
  RELAY_CLOSED: 3,
  /** The next node did not answer in time. */
  TIMEOUT: 4,
  /** The bytes that arrived are not those that were sent: the circuit is encrypted from end to end. */
  SECURE: 5,
  /** The membership of a node at one of the ends was revoked. */
  REVOKED: 6,
  /** The certificate of a node at one of the ends has expired. */
  EXPIRED: 7,
} as const;

/** By the code of the error with which a link ends. */
const REASONS_OF_LOSS: ReadonlyMap<string | undefined, number> = new Map([
  ['ERR_STARLANE_REVOKED', ResetReason.REVOKED],
  ['ERR_STARLANE_CERTIFICATE_EXPIRED', ResetReason.EXPIRED],
]);

const REASON_BITS = 0xff;
const HOP_SHIFT = 8;
const MAX_HOPS = 0xff;
const MESSAGES: ReadonlyMap<number, readonly [StarlaneErrorCode, (where: string) => string]> = new Map([
  [ResetReason.LINK_LOST, ['ERR_STARLANE_LINK_LOST', (where) => `a link ${where}`]],
  [ResetReason.RELAY_LIMIT, ['ERR_STARLANE_RELAY_LIMIT', (where) => `a relay ${where}`]],
  [ResetReason.RELAY_CLOSED, ['ERR_STARLANE_CLOSED', (where) => `a relay ${where}`]],
  [ResetReason.TIMEOUT, ['ERR_STARLANE_OPEN_TIMEOUT', (where) => `a node ${where}`]],
  [ResetReason.SECURE, ['ERR_STARLANE_SECURE', (where) => `so says a node ${where}`]],
  [ResetReason.REVOKED, ['ERR_STARLANE_REVOKED', (where) => `so says a node ${where}`]],
  [ResetReason.EXPIRED, ['ERR_STARLANE_CERTIFICATE_EXPIRED', (where) => `so says a node ${where}`]],
]);

/** Returns the reason for streams of a session that has ended with this error. */
export function reasonOfLoss(error: Error): number {
  return REASONS_OF_LOSS.get(codeOf(error)) ?? ResetReason.LINK_LOST;
}

/** Returns whether a circuit with this reason must end at once, with all that is on its way. */
export function isOfMembership(reason: number): boolean {
  const kind = reason & REASON_BITS;
  return kind === ResetReason.REVOKED || kind === ResetReason.EXPIRED;
}

/** Reads the reason from the length field of an RST; bits of later versions are left out. */
export function readResetReason(length: number): number {
  return length & (REASON_BITS | (MAX_HOPS << HOP_SHIFT));
}

/** Returns the reason for the next node: the same, one hop further away. */
export function passedOn(reason: number): number {
  if ((reason & REASON_BITS) === ResetReason.NONE) return ResetReason.NONE;
  const hops = Math.min((reason >>> HOP_SHIFT) + 1, MAX_HOPS);
  return (reason & REASON_BITS) | (hops << HOP_SHIFT);
}

/** One error for each reason: the loss of a link may reset a million streams. */
const errors = new Map<number, StarlaneError>();

/** Returns the error for the user of a stream that the peer has reset. */
export function resetError(streamId: number, reason: number): StarlaneError {
  const known = errors.get(reason);
  if (known !== undefined) return known;
  const found = MESSAGES.get(reason & REASON_BITS);
  if (found === undefined) return starlaneError('ERR_STARLANE_STREAM_RESET', `stream ${streamId}`);
  const [code, what] = found;
  const hops = reason >>> HOP_SHIFT;
  const error = starlaneError(code, what(hops === 1 ? '1 hop on' : `${hops} hops on`));
  // Until a stack trace is read, V8 keeps the objects that it leads through: the session of this stream would never be freed.
  void error.stack;
  errors.set(reason, error);
  return error;
}

// --- many resets ---

/** Resets that are delivered in one turn. */
const RESETS_PER_TURN = 1000;

/** Waiting resets that are delivered when the peer opens a stream. */
const RESETS_PER_OPEN = 2;

/**
 * The resets of one peer. A relay that loses a link resets every stream that passes through it, a hundred thousand frames in one poll of
 * the socket, and a reset costs the user of a stream a hundred times what it costs to read. So each turn of the event loop
 * delivers a bounded number; the others wait.
 */
export class Resets {
  /** How many were delivered in this turn. */
  private delivered = 0;
  /** Streams that this side and the peer have opened, with the reason of each; those of the peer count as open for its limits. */
  private readonly ours = new Map<MuxStream, number>();
  private readonly theirs = new Map<MuxStream, number>();
  private readonly nextTurn = new NextTurn(systemClock, () => {
    this.delivered = 0;
    this.deliverSome(this.ours, RESETS_PER_TURN);
    this.deliverSome(this.theirs, RESETS_PER_TURN - this.delivered);
    if (this.delivered > 0) this.nextTurn.request();
  });

  /** The number of resets that wait. */
  get size(): number {
    return this.ours.size + this.theirs.size;
  }

  /** The peer has reset an open stream. Until the reset is delivered, it is as if the frame were still on its way. */
  add(stream: MuxStream, reason: number, isTheirs: boolean): void {
    // Nothing has been said about a stream that is not acknowledged yet, and nothing need be: it does not wait behind others.
    const isUnanswered = (stream.state & StreamState.ACK_OWED) !== 0;
    if (this.delivered < RESETS_PER_TURN && (isUnanswered || this.size === 0)) this.fail(stream, reason);
    else {
      stream.state &= ~StreamState.ACK_OWED;
      (isTheirs ? this.theirs : this.ours).set(stream, reason);
    }
    this.nextTurn.request();
  }

  /** The peer opens a stream. Bounds the queue against a peer that keeps opening and resetting streams. */
  onOpen(): void {
    this.deliverSome(this.theirs, RESETS_PER_OPEN);
  }

  /** Delivers waiting resets as long as `isNeeded` returns true: their unread bytes would cost other streams their life. */
  deliverWhile(isNeeded: () => boolean): void {
    for (const waiting of [this.theirs, this.ours]) {
      while (waiting.size > 0 && isNeeded()) this.deliverSome(waiting, 1);
    }
  }

  /** Delivers the reset of this stream: another frame for it has come. False when none waits. */
  deliver(stream: MuxStream): boolean {
    const waiting = this.ours.has(stream) ? this.ours : this.theirs;
    const reason = waiting.get(stream);
    if (reason === undefined) return false;
    waiting.delete(stream);
    if (!stream.isClosed) this.fail(stream, reason);
    return true;
  }

  /** Delivers all resets: the input has ended. */
  deliverAll(): void {
    this.deliverSome(this.ours, Number.POSITIVE_INFINITY);
    this.deliverSome(this.theirs, Number.POSITIVE_INFINITY);
  }

  /** Drops all resets: the session has ended, and its streams are notified of that instead. */
  clear(): void {
    this.ours.clear();
    this.theirs.clear();
  }

  private fail(stream: MuxStream, reason: number): void {
    this.delivered++;
    stream.fail(resetError(stream.id, reason), reason, false);
  }

  private deliverSome(waiting: Map<MuxStream, number>, most: number): void {
    let count = 0;
    for (const [stream, reason] of waiting) {
      if (count >= most) return;
      waiting.delete(stream);
      // This side may have given it up meanwhile.
      if (stream.isClosed) continue;
      count++;
      this.fail(stream, reason);
    }
  }
}
