// Streams that the peer resets. A relay that loses a link resets what goes through it at once, a hundred thousand frames in
// one poll of the socket, and what each costs the user of a stream is a hundred times what it costs to read: a turn of the
// event loop tells so many, the others are told in the turns that follow.

import { type StarlaneError, type StarlaneErrorCode, starlaneError } from '../../errors.js';
import { setImmediate } from '../../util/runtime/real-timers.js';
import type { MuxStream } from './stream.js';
import { StreamState } from './stream-state.js';

// Why a stream was reset. Between Starlane nodes RST carries it in the length field, which yamux does not use there: the
// reason in the low byte, and in the next one how many hops on it arose. Relays pass it on.

/** The numbers are the wire: append only. */
export const ResetReason = {
  /** A user, or nothing to be told. */
  NONE: 0,
  /** A link of the circuit was lost. */
  LINK_LOST: 1,
  /** A relay needs the memory. */
  RELAY_LIMIT: 2,
  /** A relay is closing. */
  RELAY_CLOSED: 3,
  /** The next node did not answer in time. */
  TIMEOUT: 4,
  /** What has arrived is not what was sent: the circuit is encrypted from end to end. */
  SECURE: 5,
} as const;

const REASON_BITS = 0xff;
const HOP_SHIFT = 8;
const MAX_HOPS = 0xff;
const MESSAGES: ReadonlyMap<number, readonly [StarlaneErrorCode, (where: string) => string]> = new Map([
  [ResetReason.LINK_LOST, ['ERR_STARLANE_LINK_LOST', (where) => `a link ${where}`]],
  [ResetReason.RELAY_LIMIT, ['ERR_STARLANE_RELAY_LIMIT', (where) => `a relay ${where}`]],
  [ResetReason.RELAY_CLOSED, ['ERR_STARLANE_CLOSED', (where) => `a relay ${where}`]],
  [ResetReason.TIMEOUT, ['ERR_STARLANE_OPEN_TIMEOUT', (where) => `a node ${where}`]],
  [ResetReason.SECURE, ['ERR_STARLANE_SECURE', (where) => `so says a node ${where}`]],
]);

/** What the length field of an RST says; bits of later versions are left out. */
export function readResetReason(length: number): number {
  return length & (REASON_BITS | (MAX_HOPS << HOP_SHIFT));
}

/** The same reason as the next node is to see it: one hop further away. */
export function passedOn(reason: number): number {
  if ((reason & REASON_BITS) === ResetReason.NONE) return ResetReason.NONE;
  const hops = Math.min((reason >>> HOP_SHIFT) + 1, MAX_HOPS);
  return (reason & REASON_BITS) | (hops << HOP_SHIFT);
}

/** Made once for each reason: a link that is lost may reset a million streams. */
const errors = new Map<number, StarlaneError>();

/** What the user of a stream that was reset gets to see. */
export function resetError(streamId: number, reason: number): StarlaneError {
  const known = errors.get(reason);
  if (known !== undefined) return known;
  const found = MESSAGES.get(reason & REASON_BITS);
  if (found === undefined) return starlaneError('ERR_STARLANE_STREAM_RESET', `stream ${streamId}`);
  const [code, what] = found;
  const hops = reason >>> HOP_SHIFT;
  const error = starlaneError(code, what(hops === 1 ? '1 hop on' : `${hops} hops on`));
  // A trace that nobody has read keeps the objects that it leads through: the session of this stream, for ever.
  void error.stack;
  errors.set(reason, error);
  return error;
}

/** Streams that are told in one turn. */
const STREAMS_PER_TURN = 1000;

/** Streams that are told when the peer opens one. */
const TOLD_PER_OPEN = 2;

export class Resets {
  private told = 0;
  private isTurnDue = false;
  /** Streams of either side, with the reason of each; those that the peer has opened count for what it may open. */
  private readonly own = new Map<MuxStream, number>();
  private readonly theirs = new Map<MuxStream, number>();

  /** How many streams wait to be told. */
  get size(): number {
    return this.own.size + this.theirs.size;
  }

  /** The peer has reset an open stream. Until it is told it is as if the frame were still on its way. */
  take(stream: MuxStream, reason: number, isTheirs: boolean): void {
    // Of one that is not acknowledged yet nothing has been said, and nothing is to be: it need not wait behind others.
    const isUnanswered = (stream.state & StreamState.ACK_OWED) !== 0;
    if (this.told < STREAMS_PER_TURN && (isUnanswered || this.size === 0)) this.tell(stream, reason);
    else {
      stream.state &= ~StreamState.ACK_OWED;
      (isTheirs ? this.theirs : this.own).set(stream, reason);
    }
    this.nextTurn();
  }

  /** The peer opens a stream. Who opens and resets them without end shall not have more and more of them waiting here. */
  onOpen(): void {
    this.tellWaiting(this.theirs, TOLD_PER_OPEN);
  }

  /** Tells those that wait, for as long as `isNeeded` says: what they hold unread would cost others their streams. */
  tellWhile(isNeeded: () => boolean): void {
    for (const waiting of [this.theirs, this.own]) {
      while (waiting.size > 0 && isNeeded()) this.tellWaiting(waiting, 1);
    }
  }

  /** Another frame for that stream: its reset came first. False when it does not wait. */
  tellNow(stream: MuxStream): boolean {
    const waiting = this.own.has(stream) ? this.own : this.theirs;
    const reason = waiting.get(stream);
    if (reason === undefined) return false;
    waiting.delete(stream);
    if (!stream.isClosed) this.tell(stream, reason);
    return true;
  }

  /** The input is over: all that it brought is told. */
  tellAll(): void {
    this.tellWaiting(this.own, Number.POSITIVE_INFINITY);
    this.tellWaiting(this.theirs, Number.POSITIVE_INFINITY);
  }

  /** The session is over: its streams hear that instead. */
  stop(): void {
    this.own.clear();
    this.theirs.clear();
  }

  private tell(stream: MuxStream, reason: number): void {
    this.told++;
    stream.fail(resetError(stream.id, reason), reason, false);
  }

  private nextTurn(): void {
    if (this.isTurnDue) return;
    this.isTurnDue = true;
    setImmediate(() => {
      this.isTurnDue = false;
      this.told = 0;
      this.tellWaiting(this.own, STREAMS_PER_TURN);
      this.tellWaiting(this.theirs, STREAMS_PER_TURN - this.told);
      if (this.told > 0) this.nextTurn();
    });
  }

  private tellWaiting(waiting: Map<MuxStream, number>, most: number): void {
    let count = 0;
    for (const [stream, reason] of waiting) {
      if (count >= most) return;
      waiting.delete(stream);
      // This side may have given it up meanwhile.
      if (stream.isClosed) continue;
      count++;
      this.tell(stream, reason);
    }
  }
}
