// The streams of one session and what is counted about them: their ids, opens without an answer, the accept backlog, and the
// deadlines of opens and ends. It admits and removes streams; it does not know what they send and receive.

import { starlaneError } from '../../errors.js';
import type { Timed, Timer, Timers } from '../../util/timers.js';
import { MAX_UINT32 } from '../../wire/header.js';
import type { MuxSession } from '../session.js';
import type { SessionOptions } from '../session-options.js';
import { ResetReason } from './resets.js';
import { MuxStream, type StreamSink } from './stream.js';
import { INCOMING_STATE, OPENED_STATE, StreamState } from './stream-state.js';

/** Streams that are compared to find the one with most unread bytes. */
const BUDGET_SCAN = 1024;

export class StreamTable {
  private readonly streams = new Map<number, MuxStream>();
  private readonly ids: StreamIds;
  private readonly opens: Deadlines<MuxStream>;
  private readonly ends: Deadlines<MuxStream>;
  /** Opens that wait until others are acknowledged, oldest first. */
  private readonly held = new Set<MuxStream>();
  private unackedOpens = 0;
  private unaccepted = 0;
  private peerStreams = 0;
  /** The stream of the last lookup: frames of one stream often come in rows. */
  private last: MuxStream | null = null;

  constructor(
    private readonly options: SessionOptions,
    private readonly session: MuxSession,
  ) {
    const { client, starlanePeer, firstStreamId, timers, openTimeoutMs, closeTimeoutMs } = options;
    this.ids = new StreamIds(client, starlanePeer, firstStreamId);
    this.opens = new Deadlines(timers, openTimeoutMs, (stream) => {
      // hashicorp/yamux does not acknowledge a stream that ended before it was accepted; the answer is still to come.
      if (stream.state & StreamState.FIN_SENT) return;
      stream.destroy(starlaneError('ERR_STARLANE_OPEN_TIMEOUT', `stream ${stream.id}`), ResetReason.TIMEOUT);
    });
    this.ends = new Deadlines(timers, closeTimeoutMs, (stream) =>
      stream.destroy(starlaneError('ERR_STARLANE_CLOSE_TIMEOUT', `stream ${stream.id}`)),
    );
  }

  get size(): number {
    return this.streams.size;
  }

  /** The number of streams that the peer has opened. */
  get peerCount(): number {
    return this.peerStreams;
  }

  get(id: number): MuxStream | null {
    if (this.last !== null && this.last.id === id) return this.last;
    const stream = this.streams.get(id);
    if (stream === undefined) return null;
    this.last = stream;
    return stream;
  }

  values(): IterableIterator<MuxStream> {
    return this.streams.values();
  }

  /**
   * Opens a stream of this side. It waits when too many opens are unanswered.
   * @throws ERR_STARLANE_STREAMS_EXHAUSTED
   */
  open(sink: StreamSink): MuxStream {
    const id = this.ids.take(this.streams);
    if (id === undefined) throw starlaneError('ERR_STARLANE_STREAMS_EXHAUSTED');
    const stream = new MuxStream(id, this.session, sink, OPENED_STATE);
    this.streams.set(id, stream);
    if (this.unackedOpens < this.options.maxUnackedOpens) {
      this.unackedOpens++;
      this.opens.add(stream);
    } else {
      stream.state |= StreamState.HELD;
      this.held.add(stream);
    }
    return stream;
  }

  /** Whether the peer may open a stream with this id at all. */
  isPeers(id: number): boolean {
    return this.ids.isPeers(id);
  }

  /** Admits a stream that the peer opens; returns null when the accept backlog or the table is full. */
  admit(id: number): MuxStream | null {
    if (this.unaccepted >= this.options.acceptBacklog || this.peerStreams >= this.options.maxStreams) return null;
    this.unaccepted++;
    this.peerStreams++;
    const stream = new MuxStream(id, this.session, null, INCOMING_STATE);
    this.streams.set(id, stream);
    return stream;
  }

  /** A stream has left the accept backlog. */
  accepted(): void {
    this.unaccepted--;
  }

  /** The peer has answered, which acknowledges an open. */
  acknowledged(stream: MuxStream): void {
    if ((stream.state & StreamState.UNACKED) === 0) return;
    stream.state &= ~StreamState.UNACKED;
    this.opens.delete(stream);
    this.releaseHeld();
  }

  /** Removes a stream that has closed. False when it was removed before. */
  remove(stream: MuxStream): boolean {
    if (!this.streams.delete(stream.id)) return false;
    if (this.last === stream) this.last = null;
    this.ends.delete(stream);
    const { state } = stream;
    if (this.ids.isPeers(stream.id)) {
      this.peerStreams--;
      if (state & StreamState.UNACCEPTED) this.unaccepted--;
    } else if (state & StreamState.HELD) {
      this.held.delete(stream);
    } else if (state & StreamState.UNACKED) {
      this.opens.delete(stream);
      this.releaseHeld();
    }
    return true;
  }

  /** The user has closed the stream: it must end within the close timeout. */
  expectEnd(stream: MuxStream): void {
    this.ends.add(stream);
  }

  /** Returns the stream with most unread bytes, among `first` and the oldest streams. */
  largestReader(first: MuxStream): MuxStream {
    let largest = first;
    let looked = 0;
    for (const stream of this.streams.values()) {
      if (stream.unreadBytes > largest.unreadBytes) largest = stream;
      if (++looked === BUDGET_SCAN) break;
    }
    return largest;
  }

  /** Drops all deadlines: the session has ended. */
  dispose(): void {
    this.opens.clear();
    this.ends.clear();
    this.held.clear();
  }

  private releaseHeld(): void {
    this.unackedOpens--;
    if (this.held.size === 0) return;
    for (const stream of this.held) {
      if (this.unackedOpens >= this.options.maxUnackedOpens) return;
      this.held.delete(stream);
      this.unackedOpens++;
      this.opens.add(stream);
      stream.release();
    }
  }
}

/**
 * The ids that one side of a session gives to the streams it opens: odd for the client, even for the server (yamux spec,
 * "StreamID Field"), 2^31 - 1 each.
 */
export class StreamIds {
  private next: number;
  private readonly first: number;
  private hasWrapped = false;

  /**
   * @param client whether this side is the client
   * @param wraps whether ids are reused once their streams are gone; foreign peers do not expect that
   * @param start the first id to try, rounded up to the parity of this side; for specs near the end of the range
   */
  constructor(
    private readonly client: boolean,
    private readonly wraps: boolean,
    start = 1,
  ) {
    this.first = client ? 1 : 2;
    const parity = this.first & 1;
    this.next = Math.max(this.first, start % 2 === parity ? start : start + 1);
  }

  /** Returns the next id that is not live; undefined when none is left. */
  take(live: ReadonlyMap<number, unknown>): number | undefined {
    if (this.next > MAX_UINT32) {
      if (!this.wraps) return undefined;
      this.next = this.first;
      this.hasWrapped = true;
    }
    // Only live ids are skipped, so the search ends after as many steps as there are streams.
    for (let skipped = 0; this.hasWrapped && live.has(this.next); skipped++) {
      if (skipped > live.size) return undefined;
      this.next += 2;
      if (this.next > MAX_UINT32) this.next = this.first;
    }
    const id = this.next;
    this.next += 2;
    return id;
  }

  /** Returns whether an id has the parity of the peer. */
  isPeers(id: number): boolean {
    return (id & 1) === (this.client ? 0 : 1);
  }
}

/**
 * A deadline for each member, with one timer for all: every member has the same time, so they expire in the order in which they were
 * added, and a member that is in time costs a map entry.
 */
export class Deadlines<T> implements Timed {
  private readonly due = new Map<T, number>();
  private timer: Timer | null = null;
  private isRunning = false;

  /**
   * @param timeoutMs the time that every member has, in ms; 0 for no limit
   * @param onExpired called with each member whose time is up, after it was removed
   */
  constructor(
    private readonly timers: Timers,
    private readonly timeoutMs: number,
    private readonly onExpired: (member: T) => void,
  ) {}

  get size(): number {
    return this.due.size;
  }

  add(member: T): void {
    if (this.timeoutMs === 0) return;
    this.due.set(member, this.timers.now() + this.timeoutMs);
    if (!this.isRunning) this.timer ??= this.timers.schedule(this.timeoutMs, this);
  }

  delete(member: T): void {
    if (this.due.size > 0) this.due.delete(member);
  }

  clear(): void {
    this.due.clear();
    if (this.timer !== null) this.timers.cancel(this.timer);
    this.timer = null;
  }

  onDeadline(now: number): void {
    this.isRunning = true;
    for (const [member, at] of this.due) {
      if (at > now) break;
      this.due.delete(member);
      this.expire(member);
    }
    this.isRunning = false;
    this.timer = null;
    // The first member now may have been added by one that expired.
    for (const at of this.due.values()) {
      this.timer = this.timers.schedule(at - now, this);
      return;
    }
  }

  private expire(member: T): void {
    try {
      this.onExpired(member);
    } catch (error) {
      this.timers.clock.setImmediate(() => {
        throw error;
      });
    }
  }
}
