// Data, opens and windows against hashicorp/yamux in Go, which wrote the specification: over TCP on loopback.
// The Go side counts every frame and passes on every complaint of the library; a clean run has none.

import { randomBytes } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { within } from '../support/deadline.js';
import { describeWithGo } from './go-link.js';
import { ByteReader, digest, echo, exchange, sink, source } from './stream-work.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const INITIAL_WINDOW_BYTES = 256 * KIB;

describeWithGo('with hashicorp/yamux', (link) => {
  describe('data', () => {
    it('echoes and closes in both directions', async () => {
      const { session, peer } = await link.start();
      const payload = randomBytes(1000);
      expect((await within('echo', echo(session.open(), payload))).equals(payload)).toBe(true);
      const answer = await peer.run('open', { verb: 'echo', count: 1, concurrency: 1, bytes: 1000 });
      expect(answer).toMatchObject({ opened: 1 });
      await link.expectCleanEnd();
    });

    it('carries 8 MiB each way on 4 streams of either side at once', async () => {
      const { peer } = await link.start();
      const bytes = 8 * MIB;
      const [ours, theirs] = await Promise.all([
        link.openAll(4, (stream) => exchange(stream, bytes)),
        peer.run('open', { verb: 'exchange', count: 4, concurrency: 4, bytes }),
      ]);
      expect(ours).toEqual([true, true, true, true]);
      expect(theirs).toMatchObject({ opened: 4 });
      expect((await peer.stats()).receivedBytes).toBeGreaterThan(8 * bytes);
      await link.expectCleanEnd();
    });

    it('writes to a peer that waits for the end before it answers', async () => {
      await link.start();
      const sizes = [0, 1, 12, 4095, 64 * KIB, INITIAL_WINDOW_BYTES - 5, INITIAL_WINDOW_BYTES, MIB];
      const good = await link.openAll(sizes.length, (stream, number) => sink(stream, sizes[number]));
      expect(good).toEqual(sizes.map(() => true));
      await link.expectCleanEnd();
    });

    it('continues to receive after its own end', async () => {
      await link.start();
      expect(await link.openAll(20, (stream) => source(stream, 300_000))).toEqual(Array(20).fill(true));
      await link.expectCleanEnd();
    });

    it('continues to send after the end of the peer', async () => {
      const { session, peer } = await link.start();
      const payload = randomBytes(2 * INITIAL_WINDOW_BYTES);
      const stream = session.open();
      stream.write(`closed ${payload.length}\n`);
      expect(await within('end of the peer', new ByteReader(stream).toEnd())).toHaveLength(0);
      stream.end(payload);
      expect(await peer.event('received')).toMatchObject({ digest: digest(payload) });
      await link.expectCleanEnd();
    });

    it('answers a peer that has already half-closed', async () => {
      const { peer } = await link.start();
      const answer = await peer.run('open', { verb: 'sink', count: 50, concurrency: 10, bytes: 300_000 });
      expect(answer).toMatchObject({ opened: 50 });
      await link.expectCleanEnd();
    });

    it('half-closes first on streams of the peer', async () => {
      const { peer } = await link.start();
      const answer = await peer.run('open', { verb: 'source', count: 50, concurrency: 10, bytes: 300_000 });
      expect(answer).toMatchObject({ opened: 50 });
      await link.expectCleanEnd();
    });
  });

  describe('opens', () => {
    it('opens 5,000 streams in one turn with at most 256 unanswered', async () => {
      const { peer } = await link.start();
      const answers = await link.openAll(5000, (stream, number) => echo(stream, Buffer.from(`stream ${number}`)));
      expect(answers.every((answer, number) => answer.toString() === `stream ${number}`)).toBe(true);
      const stats = await peer.stats();
      expect(stats.maxUnansweredStreams).toBeLessThanOrEqual(256);
      expect(framesWith('SYN', stats.received)).toBe(5000);
      await link.expectCleanEnd();
    });

    it('accepts 5,000 streams that the peer opens at once', async () => {
      const { peer } = await link.start();
      const answer = await peer.run('open', { verb: 'echo', count: 5000, concurrency: 5000, bytes: 100 });
      expect(answer).toMatchObject({ opened: 5000 });
      expect(framesWith('ACK', (await peer.stats()).received)).toBe(5000);
      await link.expectCleanEnd();
    });

    it('acknowledges streams that it has nothing to say on', async () => {
      const { peer } = await link.start();
      // The peer opens no more than 256 before they are acknowledged, and ends none before all are open.
      const answer = await peer.run('open', { verb: 'quiet', count: 1000, concurrency: 1000 });
      expect(answer).toMatchObject({ opened: 1000 });
      await link.expectCleanEnd();
    });

    it('opens thousands on both sides at once', async () => {
      const { peer } = await link.start();
      const [answers, theirs] = await Promise.all([
        link.openAll(2500, (stream, number) => echo(stream, Buffer.from(`stream ${number}`))),
        peer.run('open', { verb: 'echo', count: 2500, concurrency: 1000, bytes: 100 }),
      ]);
      expect(answers).toHaveLength(2500);
      expect(theirs).toMatchObject({ opened: 2500 });
      await link.expectCleanEnd();
    });

    it('holds the 257th open back until the peer acknowledges others', async () => {
      const { session, peer } = await link.start({ peer: { gated: true } });
      const work = link.openAll(1000, (stream, number) => echo(stream, Buffer.from(`stream ${number}`)));
      expect(await peer.run('opened', { count: 256 })).not.toHaveProperty('error');
      await within('pong', session.ping());
      expect((await peer.stats()).streams).toBe(256);
      await peer.run('accept');
      expect(await work).toHaveLength(1000);
      await link.expectCleanEnd();
    });
  });

  describe('windows', () => {
    it('stops at the window of a slow reader, and other streams go on', async () => {
      const { session, peer } = await link.start();
      const slow = session.open();
      const payload = randomBytes(MIB);
      slow.write('hold\n');
      slow.end(payload);
      await peer.event('held');
      expect(await peer.run('arrived', { bytes: INITIAL_WINDOW_BYTES })).not.toHaveProperty('error');
      const answers = await link.openAll(100, (stream) => echo(stream, Buffer.from('meanwhile')));
      expect(answers.every((answer) => answer.toString() === 'meanwhile')).toBe(true);
      const echoBytes = 100 * 'echo\nmeanwhile'.length;
      expect((await peer.stats()).receivedBytes).toBe(INITIAL_WINDOW_BYTES + echoBytes);
      await peer.run('release');
      const answer = await within('digest', new ByteReader(slow).toEnd());
      expect(answer.toString()).toBe(digest(payload));
      await link.expectCleanEnd();
    });

    it('uses the larger window that the peer grants with its ACK', async () => {
      const windowBytes = 2 * MIB;
      const { session, peer } = await link.start({ peer: { windowBytes } });
      const stream = session.open();
      const payload = randomBytes(2 * windowBytes);
      stream.write('hold\n');
      stream.end(payload);
      expect(await peer.run('arrived', { bytes: windowBytes })).not.toHaveProperty('error');
      await within('pong', session.ping());
      expect((await peer.stats()).receivedBytes).toBe(windowBytes);
      await peer.run('release');
      expect((await within('digest', new ByteReader(stream).toEnd())).toString()).toBe(digest(payload));
      await link.expectCleanEnd();
    });
  });
});

function framesWith(flag: string, frames: Record<string, number>): number {
  let count = 0;
  for (const name of Object.keys(frames)) if (name.includes(flag) && !name.startsWith('ping')) count += frames[name];
  return count;
}
