// The Duplex that users hold, read and written in any way they like.

import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { Session, type Stream } from '../../lib/mux/index.js';
import { ACK, data, pattern, payloadOf, windowUpdate } from '../support/frames.js';
import { naiveDecode } from '../support/naive-codec.js';
import { ScriptedPeer } from '../support/scripted-peer.js';
import { turn, turnsUntil } from '../support/turns.js';

const WINDOW = 256 * 1024;

interface Opened {
  session: Session;
  peer: ScriptedPeer;
  stream: Stream;
}

async function open(credit: number): Promise<Opened> {
  const peer = new ScriptedPeer();
  const session = new Session(peer, { client: false, keepAliveMs: 0 });
  const stream = session.open();
  stream.on('error', () => {});
  await turn();
  peer.feed(windowUpdate(2, credit, ACK));
  peer.takeFrames();
  return { session, peer, stream };
}

const size = fc.oneof(fc.nat(20), fc.nat(5_000), fc.nat(70_000));

describe('A Stream', () => {
  type Write =
    | { kind: 'write'; bytes: number; as: 'buffer' | 'view' | 'text' | 'callback' }
    | { kind: 'cork' | 'uncork' | 'block' | 'unblock' | 'turn' };
  const write: fc.Arbitrary<Write> = fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        kind: fc.constant('write' as const),
        bytes: size,
        as: fc.constantFrom('buffer' as const, 'view' as const, 'text' as const, 'callback' as const),
      }),
    },
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constantFrom('cork', 'uncork', 'block', 'unblock', 'turn'),
      }) as fc.Arbitrary<Write>,
    },
  );

  it('sends everything that is written in order, and calls back and drains as often as it should', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(write, { maxLength: 40 }), async (steps) => {
        const { session, peer, stream } = await open(16 * 1024 * 1024);
        const parts: Buffer[] = [];
        const calls: number[] = [];
        let drains = 0;
        let mustDrain = false;
        stream.on('drain', () => drains++);
        for (const step of steps) {
          if (step.kind === 'write') {
            // Text of one byte a character, so that it is the same bytes.
            const bytes = Buffer.from(pattern(step.bytes, parts.length).map((byte) => byte & 0x7f));
            parts.push(bytes);
            let more: boolean;
            if (step.as === 'text') more = stream.write(bytes.toString('latin1'), 'latin1');
            else if (step.as === 'view') more = stream.write(new Uint8Array(bytes));
            else if (step.as === 'buffer') more = stream.write(bytes);
            else {
              const place = calls.push(0) - 1;
              more = stream.write(bytes, () => {
                calls[place]++;
                // Callbacks come in the order of the writes.
                expect(calls.slice(0, place).every((count) => count === 1)).toBe(true);
              });
            }
            if (!more) mustDrain = true;
            expect(more).toBe(stream.writableLength < stream.writableHighWaterMark);
          } else if (step.kind === 'turn') await turn();
          else if (step.kind === 'cork') stream.cork();
          else if (step.kind === 'uncork') stream.uncork();
          else if (step.kind === 'block') peer.block();
          else peer.unblock();
        }
        while (stream.writableCorked > 0) stream.uncork();
        peer.unblock();
        await turnsUntil('everything is taken', () => stream.writableLength === 0, 1_000);
        await turn();
        if (mustDrain) expect(drains).toBeGreaterThan(0);
        expect(stream.writableNeedDrain).toBe(false);
        stream.end();
        await turn();
        expect(calls).toEqual(calls.map(() => 1));
        const { frames } = naiveDecode(peer.written);
        expect(payloadOf(frames, 2).equals(Buffer.concat(parts))).toBe(true);
        expect(frames.filter(({ streamId }) => streamId === 2).at(-1)?.flags).toBe(4);
        session.destroy();
        await turn();
      }),
      { numRuns: 100 },
    );
  });

  type Read = { kind: 'feed' | 'read' | 'unshift'; bytes: number } | { kind: 'listen' | 'pause' | 'resume' | 'turn' };
  const read: fc.Arbitrary<Read> = fc.oneof(
    fc.record({ kind: fc.constantFrom('feed' as const, 'read' as const), bytes: size }),
    fc.record({
      kind: fc.constantFrom('feed' as const, 'read' as const, 'unshift' as const),
      bytes: fc.nat(60_000),
    }),
    fc.record({ kind: fc.constantFrom('listen' as const, 'pause' as const, 'resume' as const, 'turn' as const) }),
  );

  it('delivers everything in order to any kind of reader, and grants credit only for what was read', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(read, { maxLength: 60 }), async (steps) => {
        const { session, peer, stream } = await open(0);
        const input = pattern(8 * 1024 * 1024);
        let fed = 0;
        let granted = 0;
        let seen = 0;
        /** What the reader has read at some time, even if it has unshifted some of it. */
        let most = 0;
        const take = (chunk: Buffer | null): void => {
          if (chunk === null) return;
          expect(chunk.equals(input.subarray(seen, seen + chunk.length))).toBe(true);
          seen += chunk.length;
          most = Math.max(most, seen);
        };
        let listening = false;
        const look = (): void => {
          for (const { length } of peer.takeFrames()) granted += length;
          expect(granted).toBeLessThanOrEqual(most);
        };
        for (const step of steps) {
          if (step.kind === 'feed') {
            const bytes = Math.min(step.bytes, WINDOW - fed + granted);
            if (bytes > 0) peer.feed(data(2, input.subarray(fed, fed + bytes)));
            fed += bytes;
          } else if (step.kind === 'read') {
            const bytes = Math.min(step.bytes, stream.readableLength);
            if (bytes > 0 && !stream.readableFlowing) {
              const chunk = stream.read(bytes) as Buffer | null;
              // A chunk that is read by hand is also emitted to the listener.
              if (!listening) take(chunk);
            }
          } else if (step.kind === 'unshift') {
            const bytes = Math.min(step.bytes, seen);
            if (bytes > 0 && !stream.readableFlowing) {
              stream.unshift(input.subarray(seen - bytes, seen));
              seen -= bytes;
            }
          } else if (step.kind === 'listen') {
            if (!listening) stream.on('data', take);
            listening = true;
          } else if (step.kind === 'pause') stream.pause();
          else if (step.kind === 'resume') {
            if (listening) stream.resume();
          } else await turn();
          look();
        }
        if (!listening) stream.on('data', take);
        stream.resume();
        await turn();
        await turn();
        look();
        expect(seen).toBe(fed);
        expect(stream.readableLength).toBe(0);
        // What was read and not granted yet is less than half a window.
        expect(fed - granted).toBeLessThan(WINDOW / 2);
        session.destroy();
        await turn();
      }),
      { numRuns: 150 },
    );
  });
});
