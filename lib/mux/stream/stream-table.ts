// The streams of one session and what is counted about them: ids, opens without an answer, the accept backlog, and who
// must end by when. It admits and forgets; what a stream says and hears is not its business.

import { starlaneError } from '../../errors.js';
import type { Timed, Timer, Timers } from '../../util/timers.js';
import { MAX_UINT32 } from '../../wire/header.js';
import type { SessionOptions } from '../session-options.js';
import { ResetReason } from './resets.js';
import { MuxStream, type StreamHost, type StreamSink } from './stream.js';
import { INCOMING_STATE, OPENED_STATE, StreamState } from './stream-state.js';

// The ids that one side of a session gives to the streams it opens: odd for the client, even for the server
// (yamux spec, "StreamID Field"), 2^31 - 1 of them each.

export class StreamIds {
  private next: number;
  private readonly first: number;
  private hasWrapped = false;

  /**
   * @param client which side this is
   * @param wraps whether ids may be used again once their streams are gone; not with peers that never expect it
   * @param start where to begin (rounded up to the side's parity), for tests near the end of the range
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

  /** The next id that is not live; undefined when none are left. */
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

  /** Whether the peer may open a stream with this id: only with the parity of the other side. */
  isPeers(id: number): boolean {
    return (id & 1) === (this.client ? 0 : 1);
  }
}

// One deadline per stream for a whole session, with one timer: every stream gets the same time, so they fall due in the
// order in which they were added, and a stream that makes it in time leaves at the cost of a map entry.

export class Deadlines<T> implements Timed {
  private readonly due = new Map<T, number>();
  private timer: Timer | null = null;
  private isRunning = false;

  /**
   * @param timeoutMs time that every member gets, in ms; 0 for no limit
   * @param onExpired called for each member whose time is up, after it was taken out
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
    // Whoever is first now, those that expired members brought in included.
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

/** Streams looked at when the one that holds most unread bytes must go. */
const BUDGET_SCAN = 1024;

export class StreamTable {
  private readonly streams = new Map<number, MuxStream>();
  private readonly ids: StreamIds;
  private readonly opens: Deadlines<MuxStream>;
  private readonly ends: Deadlines<MuxStream>;
  /** Opens that are kept back until others are acknowledged, oldest first. */
  private readonly held = new Set<MuxStream>();
  private unackedOpens = 0;
  private unaccepted = 0;
  private peerStreams = 0;
  /** The last one looked up: frames of a stream often come in rows. */
  private last: MuxStream | null = null;

  constructor(
    private readonly options: SessionOptions,
    private readonly host: StreamHost,
  ) {
    const { client, starlanePeer, firstStreamId, timers, openTimeoutMs, closeTimeoutMs } = options;
    this.ids = new StreamIds(client, starlanePeer, firstStreamId);
    this.opens = new Deadlines(timers, openTimeoutMs, (stream) => {
      // hashicorp/yamux never acknowledges a stream that was ended before it was accepted; its answer is still to come.
      if (stream.state & StreamState.FIN_SENT) return;
      stream.kill(starlaneError('ERR_STARLANE_OPEN_TIMEOUT', `stream ${stream.id}`), ResetReason.TIMEOUT);
    });
    this.ends = new Deadlines(timers, closeTimeoutMs, (stream) =>
      stream.kill(starlaneError('ERR_STARLANE_CLOSE_TIMEOUT', `stream ${stream.id}`)),
    );
  }

  get size(): number {
    return this.streams.size;
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
   * A stream of this side, kept back when too many opens are unanswered.
   * @throws ERR_STARLANE_STREAMS_EXHAUSTED
   */
  open(sink: StreamSink): MuxStream {
    const id = this.ids.take(this.streams);
    if (id === undefined) throw starlaneError('ERR_STARLANE_STREAMS_EXHAUSTED');
    const stream = new MuxStream(id, this.host, sink, OPENED_STATE);
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

  /** A stream that the peer opens; null when the backlog or the table is full. */
  admit(id: number): MuxStream | null {
    if (this.unaccepted >= this.options.acceptBacklog || this.peerStreams >= this.options.maxStreams) return null;
    this.unaccepted++;
    this.peerStreams++;
    const stream = new MuxStream(id, this.host, null, INCOMING_STATE);
    this.streams.set(id, stream);
    return stream;
  }

  /** A stream has left the backlog. */
  accepted(): void {
    this.unaccepted--;
  }

  /** The peer has answered an open. */
  acknowledged(stream: MuxStream): void {
    if ((stream.state & StreamState.UNACKED) === 0) return;
    stream.state &= ~StreamState.UNACKED;
    this.opens.delete(stream);
    this.releaseHeld();
  }

  /** A stream has closed. False when it had left already. */
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

  /** The stream has to end within the close deadline. */
  expectEnd(stream: MuxStream): void {
    this.ends.add(stream);
  }

  /** The stream that holds most unread bytes among `first` and the oldest ones. */
  largestReader(first: MuxStream): MuxStream {
    let largest = first;
    let looked = 0;
    for (const stream of this.streams.values()) {
      if (stream.unreadBytes > largest.unreadBytes) largest = stream;
      if (++looked === BUDGET_SCAN) break;
    }
    return largest;
  }

  /** The session is over: nothing is awaited any more. */
  stop(): void {
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
