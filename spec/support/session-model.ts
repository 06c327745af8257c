// Two sessions over a link that moves bytes by hand, and what must hold of their streams at any time.

import { expect } from '@jest/globals';
import { codeOf } from '../../lib/errors.js';
import { kOnData, kOnEnd, kOnReset, kOnSent } from '../../lib/mux/hidden.js';
import { MuxSession, type SessionOwner } from '../../lib/mux/session.js';
import type { SessionOptions } from '../../lib/mux/session-options.js';
import type { MuxStream, StreamSink } from '../../lib/mux/stream/stream.js';
import { Timers } from '../../lib/util/timers.js';
import { FakeClock } from './fake-clock.js';
import { pattern } from './frames.js';
import { manualPair } from './hand-pair.js';
import { turn } from './turns.js';

export type Side = 0 | 1;

/** Bytes that one end may write in all; the pattern is made once per end. */
const MOST_BYTES = 4 * 1024 * 1024;

/** One end of a stream, with what its user has done and seen. */
export class StreamEnd implements StreamSink {
  stream: MuxStream | undefined;
  other: StreamEnd | undefined;
  written = 0;
  /** Bytes of writes that returned false, and those of them that were reported as sent. */
  queued = 0;
  sent = 0;
  received = 0;
  consumed = 0;
  paused = false;
  hasEnded = false;
  hasReset = false;
  sawEnd = false;
  error: Error | undefined;

  constructor(
    readonly side: Side,
    readonly seed: number,
  ) {}

  get isOver(): boolean {
    return this.hasReset || this.error !== undefined;
  }

  write(bytes: number): void {
    const length = Math.min(bytes, MOST_BYTES - this.written);
    const chunk = pattern(this.written + length, this.seed).subarray(this.written);
    if (length > 0 && this.stream?.write(chunk) === false) this.queued += length;
    this.written += length;
  }

  consume(bytes: number): void {
    const count = Math.min(bytes, this.received - this.consumed);
    this.consumed += count;
    this.stream?.consumed(count);
  }

  [kOnData](stream: MuxStream, chunk: Buffer): void {
    expect(stream).toBe(this.stream);
    expect(this.sawEnd || this.isOver).toBe(false);
    const expected = pattern(this.received + chunk.length, this.other?.seed ?? -1).subarray(this.received);
    expect(chunk.equals(expected)).toBe(true);
    this.received += chunk.length;
    if (!this.paused) this.consume(chunk.length);
  }

  [kOnEnd](): void {
    expect(this.sawEnd || this.isOver).toBe(false);
    this.sawEnd = true;
    expect(this.received).toBe(this.other?.written);
  }

  [kOnSent](_stream: MuxStream, bytes: number): void {
    expect(this.isOver).toBe(false);
    this.sent += bytes;
    expect(this.sent).toBeLessThanOrEqual(this.queued);
  }

  [kOnReset](_stream: MuxStream, error: Error): void {
    expect(this.isOver).toBe(false);
    this.error = error;
  }
}

export class SessionModel {
  readonly ends = manualPair();
  readonly sessions: [MuxSession, MuxSession];
  /** Both ends of every stream, by side. */
  readonly streams: Array<[StreamEnd, StreamEnd]> = [];
  private readonly byId = new Map<number, [StreamEnd, StreamEnd]>();
  private readonly relayed = new Set<number>();
  private readonly timers = new Timers(new FakeClock());

  constructor(options: Partial<SessionOptions>) {
    const shared = { ...options, timers: this.timers, keepAliveMs: 0, openTimeoutMs: 0 };
    this.sessions = [
      new MuxSession(this.ends[0], { ...shared, client: true }, this.owner(0)),
      new MuxSession(this.ends[1], { ...shared, client: false }, this.owner(1)),
    ];
  }

  /** `isRelayed`: as a hop of a circuit through relays. */
  open(side: Side, firstBytes: number, isRelayed = false): void {
    const seed = this.streams.length * 2;
    const pair: [StreamEnd, StreamEnd] = [new StreamEnd(0, seed), new StreamEnd(1, seed + 1)];
    pair[0].other = pair[1];
    pair[1].other = pair[0];
    this.streams.push(pair);
    const end = pair[side];
    end.stream = this.sessions[side].open(end);
    this.byId.set(end.stream.id, pair);
    if (isRelayed) {
      this.relayed.add(end.stream.id);
      end.stream.useRelayWindow();
    }
    if (firstBytes > 0) end.write(firstBytes);
  }

  /** Holds after every step. */
  check(): void {
    for (const side of [0, 1] as const) {
      let unread = 0;
      for (const pair of this.streams) {
        const { stream, received, consumed } = pair[side];
        if (stream === undefined || pair[side].isOver) continue;
        unread += received - consumed;
        // Credit out and bytes held are never more than the window together; the rest is owed.
        const owed = stream.receiveWindowBytes - stream.receiveCredit - stream.unreadBytes;
        // An expect() for each stream at each step takes longer than all that is checked by it.
        if (stream.unreadBytes !== received - consumed || owed < 0) {
          expect({ unread: stream.unreadBytes, owed }).toEqual({
            unread: received - consumed,
            owed: Math.max(0, owed),
          });
        }
      }
      const { unreadBytes, isClosed } = this.sessions[side];
      expect([unreadBytes, isClosed]).toEqual([unread, false]);
    }
  }

  /** Everything is delivered and consumed, until nothing moves any more. */
  async drain(): Promise<void> {
    for (let quiet = 0; quiet < 3; quiet++) {
      for (const end of this.ends) {
        while (end.underway > 0) {
          quiet = 0;
          end.deliver(64 * 1024);
          await turn();
        }
      }
      for (const end of this.streams.flat()) {
        end.paused = false;
        if (!end.isOver) end.consume(Number.POSITIVE_INFINITY);
      }
      await turn();
    }
  }

  /** Holds when nothing moves any more: what was written has arrived, and all credit is back or known to be owed. */
  checkAtRest(): void {
    this.check();
    for (const pair of this.streams) {
      if (pair.some(({ isOver }) => isOver)) {
        // Only users cause resets, and the other side has received it.
        expect(pair.some(({ hasReset }) => hasReset)).toBe(true);
        for (const { error } of pair) if (error !== undefined) expect(codeOf(error)).toBe('ERR_STARLANE_STREAM_RESET');
        continue;
      }
      for (const end of pair) {
        const other = end.other as StreamEnd;
        expect(end.received).toBe(other.written);
        expect(end.sent).toBe(end.queued);
        expect(end.sawEnd).toBe(other.hasEnded);
        if (end.stream === undefined || other.stream === undefined || end.stream.isClosed) continue;
        expect(Reflect.get(other.stream, 'sendCredit')).toBe(end.stream.receiveCredit);
        const { receiveWindowBytes, receiveCredit } = end.stream;
        // To a peer that has ended nothing is granted any more.
        if (!end.sawEnd) expect(receiveWindowBytes - receiveCredit).toBeLessThan(receiveWindowBytes / 2);
      }
    }
  }

  /** Ends every stream and both sessions; nothing may be left. */
  async finish(): Promise<void> {
    for (const end of this.streams.flat()) {
      if (end.isOver || end.hasEnded) continue;
      end.hasEnded = true;
      end.stream?.end();
    }
    await this.drain();
    this.checkAtRest();
    for (const session of this.sessions) {
      expect(session.streamCount).toBe(0);
      expect(session.unreadBytes).toBe(0);
      expect(session.budget.grownBytes).toBe(0);
    }
    for (const session of this.sessions) session.destroy();
    await turn();
    expect(this.timers.size).toBe(0);
  }

  private owner(side: Side): SessionOwner {
    return {
      onStream: (stream) => {
        const end = (this.byId.get(stream.id) as [StreamEnd, StreamEnd])[side];
        end.stream = stream;
        stream.sink = end;
        if (this.relayed.has(stream.id)) stream.useRelayWindow();
        stream.accept();
      },
      onClose: () => {},
    };
  }
}
