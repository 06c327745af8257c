// Two sessions over TCP around the world: a round trip of 300 ms, and 5 % of packets lost. The peer is alive, and the sessions must find that.

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { kOnData, kOnEnd, kOnReset, kOnSent } from '../../../lib/mux/hidden.js';
import { MuxSession, type SessionOwner } from '../../../lib/mux/session.js';
import type { MuxStream, StreamSink } from '../../../lib/mux/stream/stream.js';
import { DEFAULT_LIMITS } from '../../../lib/options/options.js';
import { Timers } from '../../../lib/util/timers.js';
import { FakeClock } from '../../support/fake-clock.js';
import { lossyPair } from '../../support/lossy-pair.js';
import { turn } from '../../support/turns.js';

const HOUR_MS = 3_600_000;
const RTT_MS = 300;
const BYTES_PER_MS = 32;
const TIMEOUT_MS = 120_000;
const CHUNK = Buffer.alloc(16 * 1024);

class End implements SessionOwner, StreamSink {
  readonly session: MuxSession;
  receivedBytes = 0;
  ends: Array<string | undefined> = [];

  constructor(duplex: ConstructorParameters<typeof MuxSession>[0], clock: FakeClock, client: boolean) {
    const { keepAliveMs, keepAliveTimeoutMs } = DEFAULT_LIMITS;
    const timers = new Timers(clock);
    this.session = new MuxSession(
      duplex,
      { client, timers, keepAliveMs, keepAliveTimeoutMs, openTimeoutMs: 0, starlanePeer: true },
      this,
    );
  }

  onStream(stream: MuxStream): void {
    stream.sink = this;
    stream.accept();
  }

  onClose(error?: Error): void {
    this.ends.push(error?.message);
  }

  [kOnData](stream: MuxStream, chunk: Buffer): void {
    this.receivedBytes += chunk.length;
    stream.consumed(chunk.length);
  }

  /** There is always more to send. */
  [kOnSent](stream: MuxStream): void {
    while (stream.queuedBytes < 4 * CHUNK.length) stream.write(CHUNK);
  }

  [kOnEnd](): void {}
  [kOnReset](): void {}
}

describe('a session on a path that delays and loses', () => {
  let clock: FakeClock;
  let near: End;
  let far: End;

  beforeEach(() => {
    clock = new FakeClock();
    const [here, there] = lossyPair(clock, { rttMs: RTT_MS, loss: 0.05, bytesPerMs: BYTES_PER_MS, seed: 1 });
    near = new End(here, clock, true);
    far = new End(there, clock, false);
  });

  afterEach(async () => {
    near.session.destroy();
    far.session.destroy();
    await turn();
  });

  /** Runs what is due at its time, and reads it before anything else happens. */
  async function pass(ms: number): Promise<void> {
    const end = clock.now() + ms;
    while (clock.dueMs <= end) {
      clock.advance(Math.max(0, clock.dueMs - clock.now()));
      await turn();
      clock.runImmediates();
      clock.runImmediates();
    }
    clock.advance(end - clock.now());
  }

  it(
    'lives for an hour in which nothing is said but pings',
    async () => {
      await pass(HOUR_MS);
      expect([near.ends, far.ends]).toEqual([[], []]);
      expect(near.session.rttMs).toBeCloseTo(RTT_MS, -1);
    },
    TIMEOUT_MS,
  );

  it(
    'lives for an hour of a bulk stream',
    async () => {
      const stream = near.session.open(near, CHUNK);
      near[kOnSent](stream);
      await pass(HOUR_MS);
      expect([near.ends, far.ends]).toEqual([[], []]);
      expect(far.receivedBytes).toBeGreaterThan(10e6);
    },
    TIMEOUT_MS,
  );
});
