import { type Socket as NetSocket, Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { afterEach, describe, expect, it } from '@jest/globals';
import { KeptReads, lendReads } from '../../lib/mux/duplex-transport.js';
import { kOnData } from '../../lib/mux/hidden.js';
import { MuxSession } from '../../lib/mux/session.js';
import type { MuxStream } from '../../lib/mux/stream/stream.js';
import { FakeClock } from '../support/fake-clock.js';
import { pattern } from '../support/frames.js';
import { NotingSink } from '../support/session-fixture.js';
import { TRANSPORTS } from '../support/transports.js';
import { turn, turnsUntil } from '../support/turns.js';

/** Keeps nothing, and notes what it has seen while it had it. */
class PassingSink extends NotingSink {
  readonly keepsNothing = true;
  readonly memory = new Set<ArrayBufferLike>();

  override [kOnData](stream: MuxStream, chunk: Buffer): void {
    this.memory.add(chunk.buffer);
    super[kOnData](stream, Buffer.from(chunk));
  }
}

let sessions: MuxSession[] = [];

afterEach(async () => {
  for (const session of sessions) session.destroy();
  sessions = [];
  await turn();
});

async function pair(transport: string): Promise<{ near: MuxSession; far: MuxSession; incoming: MuxStream[] }> {
  const ends = await TRANSPORTS.find(({ name }) => name === transport)?.connect();
  if (ends === undefined) throw new Error(`no transport ${transport}`);
  const incoming: MuxStream[] = [];
  const options = { starlanePeer: true, keepAliveMs: 0 };
  const near = new MuxSession(ends.near, { ...options, client: true }, { onStream: () => {}, onClose: () => {} });
  const far = new MuxSession(
    ends.far,
    { ...options, client: false },
    {
      onStream: (stream) => {
        stream.accept();
        incoming.push(stream);
      },
      onClose: () => {},
    },
  );
  sessions.push(near, far);
  return { near, far, incoming };
}

describe.each(TRANSPORTS.map(({ name }) => name))('over %s', (transport) => {
  it('bytes are correct for sinks that keep them and for sinks that do not, before and after', async () => {
    const { near, far, incoming } = await pair(transport);
    const streams = Array.from({ length: 4 }, () => near.open(new NotingSink()));
    const bytes = pattern(1_000_000);
    for (const stream of streams) stream.write(bytes.subarray(0, 1000));
    await turnsUntil('they are there', () => incoming.length === 4);
    const sinks = incoming.map((stream, index) => {
      const sink = index % 2 === 0 ? new PassingSink() : new NotingSink();
      stream.sink = sink;
      return sink;
    });
    incoming[0].expectForwarding();
    incoming[0].expectForwarding();
    for (const [index, stream] of streams.entries()) {
      // In pieces of all sizes, so that frames lie across the ends of chunks.
      for (let at = 1000, size = 1 + index; at < bytes.length; at += size, size = ((size * 7) % 60_000) + 1) {
        stream.write(bytes.subarray(at, at + size));
      }
    }
    await turnsUntil('all has arrived', () => sinks.every((sink) => sink.received.length >= bytes.length - 1000));
    for (const [index, { received }] of sinks.entries()) {
      expect({ index, same: bytes.subarray(bytes.length - received.length).equals(received) }).toEqual({
        index,
        same: true,
      });
    }
    const isSocket = transport === 'TCP' || transport.startsWith('a unix');
    expect(far.lendsReads).toBe(isSocket);
    if (isSocket) expect((sinks[0] as PassingSink).memory.size).toBeLessThanOrEqual(2);
    const ended = new NotingSink();
    const last = near.open(ended);
    await turnsUntil('it is there', () => incoming.length === 5);
    incoming[4].end();
    last.end();
    await turnsUntil('ends are seen as well', () => ended.events.includes('end'));
  });

  it('the end of the link is noticed', async () => {
    const { near, far, incoming } = await pair(transport);
    near.open(new NotingSink(), Buffer.from('hello'));
    await turnsUntil('it is there', () => incoming.length === 1);
    const sink = new NotingSink();
    incoming[0].sink = sink;
    incoming[0].expectForwarding();
    near.destroy();
    await turnsUntil('it is over', () => far.isClosed);
    expect(sink.events.at(-1)).toMatch(/^reset /);
  });
});

describe('Reads are not lent', () => {
  it('by a Duplex that is no socket, is destroyed, or has bytes waiting', () => {
    expect(lendReads(new PassThrough(), () => {})).toBe(false);
    const unconnected = new Socket();
    expect(lendReads(unconnected, () => {})).toBe(false);
    unconnected.destroy();
    expect(lendReads(unconnected, () => {})).toBe(false);
  });

  it('where Node lacks the fields that are used here', async () => {
    const ends = await TRANSPORTS.find(({ name }) => name === 'TCP')?.connect();
    const near = ends?.near as NetSocket;
    const far = ends?.far as NetSocket;
    const handle = Reflect.get(near, '_handle') as object;
    Object.defineProperty(handle, 'useUserBuffer', { value: undefined });
    expect(lendReads(near, () => {})).toBe(false);
    near.on('data', (chunk) => near.write(chunk));
    far.write('still read');
    expect(String(await new Promise((resolve) => far.once('data', resolve)))).toBe('still read');
    for (const end of [near, far]) end.destroy();
  });
});

const MIB = 1024 * 1024;

describe('Chunks that are kept so that malloc keeps its heap', () => {
  const clock = new FakeClock();

  it('are dropped when no bulk has come for a few seconds, and kept again when it comes again', () => {
    const kept = new KeptReads(clock);
    const read = (mib: number): void => {
      for (let bytes = 0; bytes < mib * MIB; bytes += 64 * 1024) kept.onRead(Buffer.alloc(64 * 1024));
    };
    for (let second = 0; second < 10; second++) {
      read(8);
      clock.advance(1_000);
    }
    expect(kept.chunks).toHaveLength(8);
    clock.advance(7_000);
    expect([kept.chunks.length, clock.armed]).toEqual([0, 0]);
    read(8);
    expect(kept.chunks).toHaveLength(2);
  });

  it('are one for every 4 MiB', () => {
    const kept = new KeptReads(clock);
    const chunks: Buffer[] = Array.from({ length: 128 }, () => Buffer.alloc(64 * 1024));
    for (const chunk of chunks) kept.onRead(chunk);
    expect(kept.chunks.map((chunk) => chunks.indexOf(chunk))).toEqual([63, 127]);
  });

  it('are the newest eight, however much comes', () => {
    const kept = new KeptReads(clock);
    const chunks: Buffer[] = Array.from({ length: 20 * 64 }, () => Buffer.alloc(64 * 1024));
    for (const chunk of chunks) kept.onRead(chunk);
    const order = kept.chunks.map((chunk) => (chunks.indexOf(chunk) - 63) / 64).sort((a, b) => a - b);
    expect(order).toEqual([12, 13, 14, 15, 16, 17, 18, 19]);
  });

  it('are no parts of larger memory, which would be kept as well', () => {
    const kept = new KeptReads(clock);
    const huge = Buffer.alloc(8 * MIB);
    for (let at = 0; at < huge.length; at += 64 * 1024) kept.onRead(huge.subarray(at, at + 64 * 1024));
    expect(kept.chunks).toHaveLength(0);
  });

  it('are never small: small chunks lie among other allocations', () => {
    const kept = new KeptReads(clock);
    const small = Buffer.alloc(8 * 1024 - 1);
    for (let bytes = 0; bytes < 16 * MIB; bytes += small.length) kept.onRead(small);
    expect(kept.chunks).toHaveLength(0);
  });
});
