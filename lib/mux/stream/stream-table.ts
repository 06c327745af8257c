// The streams of one session and what is counted about them: ids, opens without an answer, the accept backlog, and who
// must end by when. It admits and forgets; what a stream says and hears is not its business.

import { starlaneError } from '../../errors.js';
import type { SessionOptions } from '../session-options.js';
import { Deadlines } from './deadlines.js';
import { ResetReason } from './reset-reason.js';
import { MuxStream, type StreamHost, type StreamSink } from './stream.js';
import { StreamIds } from './stream-ids.js';
import { INCOMING_STATE, OPENED_STATE, StreamState } from './stream-state.js';

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
