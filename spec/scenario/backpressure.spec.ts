// Slow readers, full windows and tiny buffers: nothing may stop, nothing may pile up.

import { finished } from 'node:stream/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { kStream } from '../../lib/mux/hidden.js';
import type { Session, Stream } from '../../lib/mux/index.js';
import { within } from '../support/deadline.js';
import { duplexPair } from '../support/duplex-pair.js';
import { pattern } from '../support/frames.js';
import { nothingLeft, watchHandles } from '../support/open-handles.js';
import {
  closeOf,
  readAll,
  receivesPattern,
  type SessionPair,
  sendPattern,
  sessionPair,
  streamPair,
} from '../support/session-pair.js';
import { type SlowOptions, slowPair } from '../support/slow-duplex.js';
import { turn, turnsUntil } from '../support/turns.js';

const KIB = 1024;
const WINDOW = 256 * KIB;

const made: SessionPair[] = [];
beforeEach(watchHandles);
afterEach(async () => {
  for (const { near, far } of made.splice(0)) {
    near.destroy();
    far.destroy();
  }
  await nothingLeft();
});

function overSlow(options: SlowOptions): SessionPair {
  const [near, far] = slowPair(options);
  const pair = sessionPair({ near, far });
  made.push(pair);
  return pair;
}

function overMemory(): SessionPair {
  const [near, far] = duplexPair();
  const pair = sessionPair({ near, far });
  made.push(pair);
  return pair;
}

/** Turns of the event loop go by until neither side has received anything for a while. */
async function standstill({ near, far }: SessionPair): Promise<void> {
  for (let quiet = 0, seen = -1; quiet < 20; quiet++) {
    const received = near.bytesIn + far.bytesIn;
    if (received !== seen) quiet = 0;
    seen = received;
    await turn();
  }
}

function unreadOf(session: Session): number {
  return (Reflect.get(session, 'session') as { unreadBytes: number }).unreadBytes;
}

describe('Both sides writing more than all windows', () => {
  const links: Array<[name: string, options: SlowOptions, streams: number, bytes: number]> = [
    ['one stream over buffers of 7 bytes', { bufferBytes: 7, piecesPerTurn: 64 }, 1, WINDOW + 40_000],
    ['eight streams over buffers of 64 bytes', { bufferBytes: 64, piecesPerTurn: 64 }, 8, WINDOW + 10_000],
    ['three streams over buffers of 1000 bytes', { bufferBytes: 1_000 }, 3, 3 * WINDOW],
  ];
  for (const [name, options, count, bytes] of links) {
    it(`and reading all the while do not wait for each other: ${name}`, async () => {
      const pair = overSlow(options);
      const pairs = [];
      for (let index = 0; index < count; index++) pairs.push(await streamPair(pair));
      const received = await Promise.all(
        pairs.flatMap(({ here, there }, index) => {
          void sendPattern(here, bytes, index);
          void sendPattern(there, bytes, index + 100);
          return [receivesPattern(there, bytes, index), receivesPattern(here, bytes, index + 100)];
        }),
      );
      expect(received).toEqual(received.map(() => true));
    });
  }

  it('and reading only when nothing more can be sent, still get everything across', async () => {
    const pair = overSlow({ bufferBytes: 512, piecesPerTurn: 16 });
    const pairs = [];
    for (let index = 0; index < 4; index++) pairs.push(await streamPair(pair));
    const streams = pairs.flatMap(({ here, there }) => [here, there]);
    streams.forEach((stream, index) => {
      stream.end(pattern(2 * WINDOW + index, index));
    });
    await standstill(pair);
    for (const stream of streams) expect(stream.readableLength).toBe(WINDOW);
    const received = await Promise.all(streams.map(readAll));
    received.forEach((bytes, index) => {
      const other = index ^ 1;
      expect(bytes.equals(pattern(2 * WINDOW + other, other))).toBe(true);
    });
    await within('all finished', Promise.all(streams.map((stream) => finished(stream))));
    await turnsUntil('no streams', () => pair.near.streamCount + pair.far.streamCount === 0);
  });

  it('and answering each other in the same handlers do not lock up', async () => {
    const pair = overSlow({ bufferBytes: 32, piecesPerTurn: 64 });
    const { here, there } = await streamPair(pair);
    there.pipe(there);
    const bytes = 2 * WINDOW;
    const [good] = await Promise.all([receivesPattern(here, bytes, 5), sendPattern(here, bytes, 5)]);
    expect(good).toBe(true);
  });
});

describe('One slow reader among 1,000 streams', () => {
  it('does not block the others, buffers no more than its window, and gets everything in the end', async () => {
    const pair = overMemory();
    const incoming: Stream[] = [];
    pair.far.on('stream', (stream) => incoming.push(stream.on('error', () => {})));
    const streams = Array.from({ length: 1_000 }, () => pair.near.open().on('error', () => {}));
    await turnsUntil('all are open', () => incoming.length === streams.length);
    const slow = incoming[500];
    const input = pattern(4 * WINDOW, 7);
    streams[500].end(input);
    const others = incoming.filter((stream) => stream !== slow);
    const received = Promise.all(others.map(readAll));
    streams.forEach((stream, index) => {
      if (index !== 500) stream.end(pattern(3_000 + index, index));
    });
    const bytes = await within('999 streams', received);
    others.forEach((_, index) => {
      const number = index < 500 ? index : index + 1;
      expect(bytes[index].equals(pattern(3_000 + number, number))).toBe(true);
    });
    await standstill(pair);
    expect(slow.readableLength).toBe(WINDOW);
    expect(unreadOf(pair.far)).toBe(WINDOW);
    expect((await readAll(slow)).equals(input)).toBe(true);
    expect(unreadOf(pair.far)).toBe(0);
  });

  it('that reads in small pieces never buffers more than its window', async () => {
    const pair = overMemory();
    const { here, there } = await streamPair(pair);
    const sent = sendPattern(here, 6 * WINDOW, 3);
    let taken = 0;
    while (taken < 6 * WINDOW) {
      const sip = there.read(Math.min(10_000, there.readableLength)) as Buffer | null;
      taken += sip?.length ?? 0;
      await turn();
      expect(unreadOf(pair.far)).toBeLessThanOrEqual(receiveWindowOf(there));
    }
    await sent;
  });

  it('costs the writer no more than its own queue', async () => {
    const pair = overMemory();
    const { here } = await streamPair(pair);
    let accepted = 0;
    while (here.writableLength < 64 * KIB) {
      here.write(pattern(16 * KIB));
      accepted += 16 * KIB;
      await standstill(pair);
    }
    expect(accepted).toBe(WINDOW + 64 * KIB);
    expect(here.writableNeedDrain).toBe(true);
  });
});

describe('Readers that stop for good', () => {
  it('do not block others, even when many of them have filled their windows', async () => {
    const pair = overMemory();
    const stuck = [];
    for (let index = 0; index < 40; index++) {
      const streams = await streamPair(pair);
      streams.here.write(pattern(2 * WINDOW, index));
      stuck.push(streams);
    }
    await standstill(pair);
    expect(unreadOf(pair.far)).toBe(40 * WINDOW);
    const { here, there } = await streamPair(pair);
    const [good] = await Promise.all([receivesPattern(there, 5 * WINDOW, 9), sendPattern(here, 5 * WINDOW, 9)]);
    expect(good).toBe(true);
    for (const { here: writer, there: reader } of stuck) {
      const closed = closeOf(writer);
      reader.destroy();
      expect(await closed).toMatchObject({ code: 'ERR_STARLANE_STREAM_RESET' });
    }
    expect(unreadOf(pair.far)).toBe(0);
  });
});

function receiveWindowOf(stream: Stream): number {
  return (Reflect.get(stream, kStream) as { receiveWindowBytes: number }).receiveWindowBytes;
}
