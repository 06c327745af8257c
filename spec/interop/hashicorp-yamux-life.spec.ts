// How streams and sessions with hashicorp/yamux in Go end, and how both sides detect a dead peer.

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { describe, expect, it } from '@jest/globals';
import type { GoAwayCode } from '../../lib/mux/index.js';
import { within } from '../support/deadline.js';
import { describeWithGo } from './go-link.js';
import { ByteReader, sink } from './stream-work.js';

const KIB = 1024;
const SYN = 1;
const ACK = 2;

describeWithGo('the life of a session with hashicorp/yamux', (link) => {
  describe('reset', () => {
    it('resets its own stream in the middle of data', async () => {
      const { session, peer } = await link.start();
      const stream = session.open();
      stream.write('sink\n');
      stream.write(randomBytes(100 * KIB));
      await peer.run('arrived', { bytes: 100 * KIB });
      stream.reset();
      expect(await peer.event('stream-error')).toMatchObject({ verb: 'sink', error: 'connection reset' });
      expect(await link.openAll(1, (next) => sink(next, 1000))).toEqual([true]);
      expect(await peer.run('drained')).not.toHaveProperty('error');
      expect(peer.complaints()).toEqual([]);
    });

    it('resets streams of the peer', async () => {
      const { session, peer } = await link.start();
      const answer = await peer.run('open', { verb: 'reset', count: 10, concurrency: 10 });
      expect(answer).toMatchObject({ opened: 10 });
      expect(session.streamCount).toBe(0);
      expect(await link.openAll(1, (next) => sink(next, 1000))).toEqual([true]);
    });

    it('applies a reset of the peer to that stream alone, even if more frames follow on it', async () => {
      const { session, peer } = await link.start();
      const other = session.open();
      other.write('echo\n');
      const stream = session.open();
      stream.resume().write('reset\n');
      const [error] = await within('error', once(stream, 'error'));
      expect(error).toMatchObject({ code: 'ERR_STARLANE_STREAM_RESET' });
      other.end('still here');
      expect((await within('echo', new ByteReader(other).toEnd())).toString()).toBe('still here');
      expect(await link.openAll(1, (next) => sink(next, 1000))).toEqual([true]);
      expect(session.streamCount).toBe(0);
      expect(peer.complaints().filter((text) => text.includes('[ERR]'))).toEqual([]);
    });

    it('gets resets for opens beyond the backlog of the peer', async () => {
      const { session, peer } = await link.start({ peer: { backlog: 4, gated: true } });
      const outcomes = Array.from({ length: 10 }, () => {
        const stream = session.open();
        stream.write('echo\n');
        return new Promise<string>((resolve) => {
          stream.once('data', () => resolve('echo'));
          stream.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
          stream.end('accepted');
        });
      });
      const refused = await within('resets', Promise.all(outcomes.slice(4)));
      expect(refused).toEqual(Array(6).fill('ERR_STARLANE_STREAM_RESET'));
      await peer.run('accept');
      expect(await within('echoes', Promise.all(outcomes.slice(0, 4)))).toEqual(Array(4).fill('echo'));
    });
  });

  describe('liveness', () => {
    it('pings and is pinged', async () => {
      const { session, peer } = await link.start();
      const rttMs = await within('pong', session.ping());
      expect(rttMs).toBeGreaterThan(0);
      expect(rttMs).toBeLessThan(10_000);
      expect((await peer.run('ping')).rttMs).toBeGreaterThan(0);
      const many = await within('pongs', Promise.all(Array.from({ length: 100 }, () => session.ping())));
      expect(many).toHaveLength(100);
      expect((await peer.stats()).received).toMatchObject({ 'ping ACK': 1 });
      expect((await peer.stats()).sent['ping ACK']).toBeGreaterThanOrEqual(101); // And those that measure by themselves.
    });

    it('keeps an idle link alive by its own pings', async () => {
      const { peer } = await link.start({ session: { keepAliveMs: 50, keepAliveTimeoutMs: 400 } });
      await pingFrames(SYN, 20); // Ten only measure the link at its start; the others span more than the timeout.
      expect((await peer.stats()).sent['ping ACK']).toBeGreaterThanOrEqual(19);
      expect(await link.openAll(1, (stream) => sink(stream, 1000))).toEqual([true]);
    });

    it('answers the keepalive of the peer', async () => {
      await link.start({ peer: { keepAliveMs: 20 } });
      await pingFrames(ACK, 3);
      expect(await link.openAll(1, (stream) => sink(stream, 1000))).toEqual([true]);
    });

    it('closes the link of a silent peer', async () => {
      const { session, peer, closed } = await link.start({ session: { keepAliveMs: 50, keepAliveTimeoutMs: 300 } });
      const streams = Array.from({ length: 10 }, () => session.open());
      const errors = streams.map((stream) => once(stream, 'error'));
      for (const stream of streams) stream.write('echo\n');
      await peer.run('opened', { count: 10 });
      peer.kill('SIGSTOP');
      const failures = await within('errors', Promise.all(errors));
      expect(failures.map(([error]) => (error as NodeJS.ErrnoException).code)).toEqual(
        Array(10).fill('ERR_STARLANE_KEEPALIVE'),
      );
      await within('close', closed);
    });

    it('fails every stream and closes once when the peer is killed', async () => {
      const { session, peer, closed } = await link.start();
      let closes = 0;
      session.on('close', () => closes++);
      const streams = Array.from({ length: 100 }, () => session.open());
      const ends = streams.map((stream) => {
        stream.resume().write('echo\n');
        return once(stream, 'close').catch((error: NodeJS.ErrnoException) => error.code);
      });
      await peer.run('opened', { count: 100 });
      peer.kill('SIGKILL');
      // The kernel says either end of input or reset, as it happens.
      const lost = expect.stringMatching(/^ERR_STARLANE_(LINK_LOST|TRANSPORT)$/);
      expect(await within('ends of the streams', Promise.all(ends))).toEqual(Array(100).fill(lost));
      await within('close', closed);
      expect(closes).toBe(1);
      expect(session.streamCount).toBe(0);
      expect(() => session.open()).toThrow(expect.objectContaining({ code: 'ERR_STARLANE_CLOSED' }));
    });

    async function pingFrames(flags: number, count: number): Promise<void> {
      let seen = 0;
      const isNext = (line: Record<string, unknown>) => line.type === 'ping' && line.flags === flags && ++seen >= count;
      await link.peer.event('frame', isNext);
    }
  });

  describe('end of the session', () => {
    it('opens nothing after a GoAway of the peer, and lets live streams finish', async () => {
      const { session, peer } = await link.start();
      const live = session.open();
      live.write('echo\n');
      await peer.run('opened', { count: 1 });
      await peer.run('goaway');
      await within('pong', session.ping());
      expect(() => session.open()).toThrow(expect.objectContaining({ code: 'ERR_STARLANE_GO_AWAY' }));
      live.end('to the end');
      expect((await within('echo', new ByteReader(live).toEnd())).toString()).toBe('to the end');
      await link.expectCleanEnd();
    });

    it('makes the peer open nothing by its own GoAway, and live streams finish', async () => {
      const { session, peer } = await link.start();
      const live = session.open();
      live.write('echo\n');
      await peer.run('opened', { count: 1 });
      session.goAway();
      expect(await peer.event('frame', (line) => line.type === 'goaway')).toMatchObject({ length: 0 });
      await within('pong', session.ping());
      const answer = await peer.run('open', { verb: 'echo', count: 1, concurrency: 1, bytes: 1 });
      expect(answer).toMatchObject({ opened: 0, error: 'remote end is not accepting connections' });
      live.end('to the end');
      expect((await within('echo', new ByteReader(live).toEnd())).toString()).toBe('to the end');
      await link.expectCleanEnd();
    });

    it.each<[GoAwayCode, string]>([
      [1, 'yamux protocol error'],
      [2, 'remote yamux internal error'],
    ])('sends the peer its GoAway reason, code %d', async (code, text) => {
      const { session, peer, closed } = await link.start();
      session.goAway(code);
      expect(await peer.event('closed')).toMatchObject({ error: text });
      await within('close', closed);
    });

    it('closes gracefully when its streams have ended', async () => {
      const { session, peer, closed } = await link.start();
      const live = session.open();
      live.write('echo\n');
      await peer.run('opened', { count: 1 });
      const done = session.close();
      expect(await peer.event('frame', (line) => line.type === 'goaway')).toMatchObject({ length: 0 });
      live.end('last words');
      expect((await within('echo', new ByteReader(live).toEnd())).toString()).toBe('last words');
      await within('close', Promise.all([done, closed]));
      expect(await peer.event('closed')).toMatchObject({ error: 'EOF' });
      expect(peer.complaints()).toEqual([]);
    });

    it('closes when the peer closes', async () => {
      const { peer, closed } = await link.start();
      expect(await link.openAll(1, (stream) => sink(stream, 1000))).toEqual([true]);
      await peer.run('close');
      await within('close', closed);
    });
  });
});
