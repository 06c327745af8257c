// Fairness between streams on one link. Measured in bytes and in the order of frames, never by the clock.

import { describe, expect, it } from '@jest/globals';
import { kOnSent } from '../../lib/mux/hidden.js';
import { MAX_OUTSTANDING_BYTES } from '../../lib/mux/send/output.js';
import { SHARED_QUANTUM_BYTES, SOLE_QUANTUM_BYTES } from '../../lib/mux/send/scheduler.js';
import type { MuxStream } from '../../lib/mux/stream/stream.js';
import { HEADER_BYTES } from '../../lib/wire/header.js';
import { within } from '../support/deadline.js';
import { ACK, pattern, ping, windowUpdate } from '../support/frames.js';
import type { NaiveFrame } from '../support/naive-codec.js';
import { NotingSink, type SessionFixture, sessionFixtures } from '../support/session-fixture.js';
import { sessionPair, streamPair } from '../support/session-pair.js';
import { TRANSPORTS } from '../support/transports.js';
import { turn, turnsUntil } from '../support/turns.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const CREDIT = 512 * MIB;
/** What may be ahead of a frame that is written now: all that the Duplex was given, and the frame that ended a batch. */
const MOST_AHEAD = MAX_OUTSTANDING_BYTES + SOLE_QUANTUM_BYTES;

const make = sessionFixtures();

/** Writes as much again as was sent, as soon as it was. */
class RefillingSink extends NotingSink {
  constructor(private readonly chunkBytes: number) {
    super();
  }

  override [kOnSent](stream: MuxStream, bytes: number): void {
    super[kOnSent](stream, bytes);
    stream.write(Buffer.alloc(this.chunkBytes));
  }
}

/** A stream that the peer lets send without limit. */
async function unlimited(fixture: SessionFixture, sink = new NotingSink()): Promise<MuxStream> {
  const stream = fixture.session.open(sink);
  await turn();
  await fixture.exchange(windowUpdate(stream.id, CREDIT, ACK));
  return stream;
}

/** Bytes of payload by stream, of the frames that were written since the last call. */
function sentBytes(fixture: SessionFixture): Map<number, number> {
  const bytes = new Map<number, number>();
  for (const { type, streamId, length } of fixture.peer.takeFrames()) {
    if (type === 0) bytes.set(streamId, (bytes.get(streamId) ?? 0) + length);
  }
  return bytes;
}

function bytesOf(frames: readonly NaiveFrame[]): number {
  return frames.reduce((sum, { payload }) => sum + HEADER_BYTES + payload.length, 0);
}

async function confirmBatches(fixture: SessionFixture, batches: number): Promise<void> {
  for (let batch = 0; batch < batches; batch++) {
    fixture.peer.confirmOne();
    await turn();
  }
}

describe('A small message on a link that bulk streams fill', () => {
  it('has a bounded number of bytes ahead of it, regardless of what the bulk streams have queued', async () => {
    const fixture = await make();
    const bulk = [];
    for (let index = 0; index < 4; index++) bulk.push(await unlimited(fixture));
    const small = await unlimited(fixture);
    fixture.peer.block();
    for (const stream of bulk) stream.write(pattern(16 * MIB));
    await turn();
    for (let round = 0; round < 20; round++) {
      const unconfirmed = fixture.peer.writableLength;
      fixture.peer.takeFrames();
      small.write(Buffer.from('small'));
      await turn();
      let received = 0;
      for (let batch = 0; ; batch++) {
        const frames = fixture.peer.takeFrames();
        const place = frames.findIndex(({ streamId }) => streamId === small.id);
        received += bytesOf(place < 0 ? frames : frames.slice(0, place));
        if (place >= 0) break;
        expect(batch).toBeLessThan(3);
        await confirmBatches(fixture, 1);
      }
      // What was unconfirmed is received among the first.
      expect(Math.max(unconfirmed, received)).toBeLessThanOrEqual(MOST_AHEAD);
      await confirmBatches(fixture, 1);
    }
  });

  it('of each of 50 quiet streams is sent before the bulk', async () => {
    const fixture = await make();
    const bulk = await unlimited(fixture);
    const quiet: MuxStream[] = [];
    for (let index = 0; index < 50; index++) quiet.push(await unlimited(fixture));
    fixture.peer.block();
    bulk.write(pattern(4 * MIB));
    await turn();
    fixture.peer.takeFrames();
    for (const stream of quiet) stream.write(Buffer.from('hello'));
    await confirmBatches(fixture, 1);
    const lines = fixture.peer.takeText();
    expect(lines.slice(0, 50)).toEqual(quiet.map(({ id }) => `DATA ${id} 5`));
    // Bulk goes on once the peer has answered.
    fixture.peer.unblock();
    await turnsUntil('bulk goes on', () => fixture.peer.takeText().some((line) => line.startsWith(`DATA ${bulk.id} `)));
  });

  it('is overtaken by answers to pings and by credit', async () => {
    const fixture = await make();
    const bulk = await unlimited(fixture);
    fixture.peer.block();
    bulk.write(pattern(4 * MIB));
    await turn();
    fixture.peer.takeFrames();
    fixture.peer.feed(ping(7));
    await confirmBatches(fixture, 1);
    expect(fixture.peer.takeText()[0]).toBe('PING ACK 7');
  });

  for (const { name, connect } of TRANSPORTS) {
    it(`arrives behind a bounded number of bytes over ${name}`, async () => {
      const pair = sessionPair(await connect());
      const bulk = [];
      for (let index = 0; index < 4; index++) {
        const { here, there } = await streamPair(pair);
        there.resume();
        bulk.push(here);
        const fill = (): void => {
          while (here.write(Buffer.alloc(256 * KIB)));
        };
        here.on('drain', fill);
        fill();
      }
      const { here, there } = await streamPair(pair);
      const ahead: number[] = [];
      for (let round = 0; round < 30; round++) {
        const start = pair.far.bytesIn;
        const arrived = new Promise<void>((resolve) => {
          there.once('data', () => {
            ahead.push(pair.far.bytesIn - given);
            resolve();
          });
        });
        const given = pair.near.bytesOut;
        here.write(`small ${round}`);
        await within('the small message', arrived);
        expect(pair.far.bytesIn).toBeGreaterThan(start);
        await turn();
      }
      // All that was not with the Duplex when it was written, and went ahead of it or arrived in one chunk with it.
      expect(Math.max(...ahead)).toBeLessThanOrEqual(MOST_AHEAD);
      for (const stream of bulk) stream.removeAllListeners('drain');
      pair.near.destroy();
      pair.far.destroy();
    });
  }
});

describe('Streams that compete', () => {
  it('get the same share, to within two frames of each other at any time', async () => {
    const fixture = await make();
    const streams: MuxStream[] = [];
    for (let index = 0; index < 7; index++) streams.push(await unlimited(fixture));
    fixture.peer.block();
    streams.forEach((stream, index) => {
      stream.write(pattern((2 + index) * MIB));
    });
    await turn();
    const total = new Map<number, number>(streams.map(({ id }) => [id, 0]));
    for (let batch = 0; batch < 40; batch++) {
      for (const [id, bytes] of sentBytes(fixture)) total.set(id, (total.get(id) ?? 0) + bytes);
      const shares = [...total.values()];
      expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(2 * SOLE_QUANTUM_BYTES);
      await confirmBatches(fixture, 1);
    }
    expect(Math.min(...total.values())).toBeGreaterThan(MIB);
  });

  it('send in frames that keep the wait for a turn short', async () => {
    const fixture = await make();
    const streams = [await unlimited(fixture), await unlimited(fixture)];
    for (const stream of streams) stream.write(pattern(MIB));
    await turn();
    const lengths = fixture.peer
      .takeFrames()
      .filter(({ type }) => type === 0)
      .map(({ length }) => length);
    expect(Math.max(...lengths)).toBeLessThanOrEqual(SOLE_QUANTUM_BYTES);
    expect(lengths.slice(0, -3).every((length) => length <= SHARED_QUANTUM_BYTES)).toBe(true);
  });

  it('cannot starve a bulk stream by refilling short queues', async () => {
    const fixture = await make();
    const large = await unlimited(fixture);
    const short: MuxStream[] = [];
    for (let index = 0; index < 12; index++) short.push(await unlimited(fixture, new RefillingSink(30 * KIB)));
    fixture.peer.block();
    large.write(pattern(8 * MIB));
    await turn();
    for (const stream of short) stream.write(Buffer.alloc(30 * KIB));
    await turn();
    // What left before the others came does not count.
    await confirmBatches(fixture, 4);
    sentBytes(fixture);
    await confirmBatches(fixture, 40);
    const bytes = sentBytes(fixture);
    const fair = [...bytes.values()].reduce((sum, part) => sum + part, 0) / 13;
    expect(bytes.get(large.id) ?? 0).toBeGreaterThan(fair / 2);
  });

  it('cannot starve a bulk stream by opening new streams all the time', async () => {
    const fixture = await make({ maxUnackedOpens: 100_000 });
    const large = await unlimited(fixture);
    fixture.peer.block();
    large.write(pattern(8 * MIB));
    await turn();
    await confirmBatches(fixture, 4);
    sentBytes(fixture);
    for (let batch = 0; batch < 60; batch++) {
      // Each sends a little and ends, and together they are more than a batch.
      for (let index = 0; index < 10; index++) fixture.open(Buffer.alloc(30 * KIB)).stream.end();
      await confirmBatches(fixture, 1);
    }
    expect(sentBytes(fixture).get(large.id) ?? 0).toBeGreaterThanOrEqual(256 * KIB);
  });

  it('cannot starve a bulk stream by small frames that need no queue', async () => {
    const fixture = await make();
    const large = await unlimited(fixture);
    const chatty: MuxStream[] = [];
    for (let index = 0; index < 100; index++) chatty.push(await unlimited(fixture));
    fixture.peer.block();
    large.write(pattern(8 * MIB));
    await turn();
    sentBytes(fixture);
    for (let round = 0; round < 20; round++) {
      fixture.peer.confirmOne();
      // In the same turn in which there is room again.
      for (const stream of chatty) for (let times = 0; times < 4; times++) stream.write(Buffer.alloc(1_000));
      await turn();
    }
    expect(sentBytes(fixture).get(large.id) ?? 0).toBeGreaterThanOrEqual(15 * 16 * KIB);
  });

  it('do not wait for one that has no credit', async () => {
    const fixture = await make();
    const stuck = fixture.open().stream;
    await turn();
    stuck.write(pattern(MIB));
    await turn();
    const other = await unlimited(fixture);
    fixture.peer.takeFrames();
    other.write(pattern(MIB));
    await turnsUntil('all of it is sent', () => other.queuedBytes === 0, 100);
    expect(sentBytes(fixture)).toEqual(new Map([[other.id, MIB]]));
    await fixture.exchange(windowUpdate(stuck.id, 10, ACK));
    expect(stuck.queuedBytes).toBe(MIB - 256 * KIB - 10);
  });
});
