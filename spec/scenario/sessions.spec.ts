// The same scenarios over every kind of link, with the opening side as the client of the session and as its server.

import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { finished, pipeline } from 'node:stream/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Stream } from '../../lib/mux/index.js';
import { within } from '../support/deadline.js';
import { pattern } from '../support/frames.js';
import { nothingLeft, watchHandles } from '../support/open-handles.js';
import {
  closeOf,
  endOf,
  readAll,
  readAtOnce,
  receivesPattern,
  type SessionPair,
  sendPattern,
  sessionPair,
  streamPair,
} from '../support/session-pair.js';
import { TRANSPORTS } from '../support/transports.js';
import { turnsUntil } from '../support/turns.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const WINDOW = 256 * KIB;

for (const { name, connect } of TRANSPORTS) {
  for (const reversed of [false, true]) {
    describe(`Sessions over ${name}, opened by the ${reversed ? 'server' : 'client'}`, () => {
      const made: SessionPair[] = [];
      beforeEach(watchHandles);
      afterEach(async () => {
        for (const { near, far } of made.splice(0)) {
          near.destroy();
          far.destroy();
        }
        await nothingLeft();
      });

      async function start(): Promise<SessionPair> {
        const pair = sessionPair(await connect(), { reversed });
        made.push(pair);
        return pair;
      }

      it('echo a stream, which then closes on both ends', async () => {
        const pair = await start();
        const { here, there } = await streamPair(pair);
        there.pipe(there);
        here.end('over and back');
        expect((await readAll(here)).toString()).toBe('over and back');
        await within('both closed', Promise.all([finished(here), finished(there)]));
        await turnsUntil('no streams', () => pair.near.streamCount + pair.far.streamCount === 0);
      });

      it('half-close at the opener: the answer still arrives', async () => {
        const { here, there } = await streamPair(await start());
        here.end('question');
        expect((await readAll(there)).toString()).toBe('question');
        expect(there.writable).toBe(true);
        there.end('answer');
        expect((await readAll(here)).toString()).toBe('answer');
      });

      it('half-close at the acceptor: the opener can still send', async () => {
        const { here, there } = await streamPair(await start());
        there.end('greeting');
        expect((await readAll(here)).toString()).toBe('greeting');
        expect(here.writable).toBe(true);
        here.end('and thanks');
        expect((await readAll(there)).toString()).toBe('and thanks');
      });

      it('carry 8 MiB both ways at once', async () => {
        const { here, there } = await streamPair(await start());
        const [forth, back] = await Promise.all([
          receivesPattern(there, 8 * MIB, 1),
          receivesPattern(here, 8 * MIB, 2),
          sendPattern(here, 8 * MIB, 1),
          sendPattern(there, 8 * MIB, 2),
        ]);
        expect([forth, back]).toEqual([true, true]);
      });

      it('carry many streams at once, opened by both sides', async () => {
        const pair = await start();
        for (const side of [pair.near, pair.far]) side.on('stream', (stream) => stream.pipe(stream));
        const sizes = Array.from({ length: 300 }, (_, index) => (index * 577) % 20_000);
        const streams = sizes.map((size, index) => {
          const stream = (index % 2 === 0 ? pair.near : pair.far).open();
          stream.end(pattern(size, index));
          return stream;
        });
        const echoes = await Promise.all(streams.map(readAll));
        expect(echoes.every((bytes, index) => bytes.equals(pattern(sizes[index], index)))).toBe(true);
        await turnsUntil('no streams', () => pair.near.streamCount + pair.far.streamCount === 0);
      });

      it('reset a stream at one end, and no other', async () => {
        const pair = await start();
        const reset = await streamPair(pair);
        const other = await streamPair(pair);
        const closed = closeOf(reset.there);
        const own = closeOf(reset.here);
        reset.here.write(pattern(1_000));
        await once(reset.there, 'readable');
        reset.here.reset();
        expect(await closed).toMatchObject({ code: 'ERR_STARLANE_STREAM_RESET' });
        expect(await own).toBeUndefined();
        other.here.end('still fine');
        expect((await readAll(other.there)).toString()).toBe('still fine');
      });

      it('destroy a stream with an error: the peer sees a reset', async () => {
        const { here, there } = await streamPair(await start());
        const [own, theirs] = [closeOf(here), closeOf(there)];
        here.destroy(new Error('given up'));
        expect(await own).toMatchObject({ message: 'given up' });
        expect(await theirs).toMatchObject({ code: 'ERR_STARLANE_STREAM_RESET' });
      });

      it('destroy a stream without an error: the peer sees an end, and a reset when it sends on', async () => {
        const { here, there } = await streamPair(await start());
        const closed = closeOf(there);
        here.write('last words');
        await within('the write is taken', new Promise((resolve) => here.write('.', resolve)));
        here.destroy();
        expect((await readAll(there)).toString()).toBe('last words.');
        there.write('is anybody there?');
        expect(await closed).toMatchObject({ code: 'ERR_STARLANE_STREAM_RESET' });
      });

      it('work with pipeline and finished', async () => {
        const { here, there } = await streamPair(await start());
        const input = pattern(3 * WINDOW + 7);
        const collected: Buffer[] = [];
        const source = new PassThrough();
        source.end(input);
        await within(
          'three pipelines',
          Promise.all([
            pipeline(source, here),
            pipeline(there, new PassThrough(), there),
            pipeline(here, async (chunks: AsyncIterable<Buffer>) => {
              for await (const chunk of chunks) collected.push(chunk);
            }),
          ]),
        );
        await within('finished', Promise.all([finished(here), finished(there)]));
        expect(Buffer.concat(collected).equals(input)).toBe(true);
      });

      it('work with async iteration, which destroys the stream when it is left', async () => {
        const { here, there } = await streamPair(await start());
        const closed = closeOf(here);
        here.write('one');
        for await (const chunk of there) {
          expect(String(chunk)).toBe('one');
          break;
        }
        expect(there.destroyed).toBe(true);
        here.write('two');
        expect(await closed).toMatchObject({ code: 'ERR_STARLANE_STREAM_RESET' });
      });

      it('read a number of bytes that is larger than the window', async () => {
        const { here, there } = await streamPair(await start());
        const bytes = 3 * WINDOW + 123;
        const sent = sendPattern(here, bytes);
        const chunk = await within('all of it at once', readAtOnce(there, bytes));
        await sent;
        expect(chunk.equals(pattern(bytes))).toBe(true);
      });

      it('decode text whose characters are cut by frames', async () => {
        const { here, there } = await streamPair(await start());
        const text = 'Ünïcödé – 網格 🛰 '.repeat(20_000);
        const bytes = Buffer.from(text);
        there.setEncoding('utf8');
        let received = '';
        there.on('data', (part: string) => {
          received += part;
        });
        for (let offset = 0; offset < bytes.length; offset += 10_007)
          here.write(bytes.subarray(offset, offset + 10_007));
        here.end();
        await within('the end', once(there, 'end'));
        expect(received).toBe(text);
      });

      it('close in order: open streams finish first', async () => {
        const pair = await start();
        const { here, there } = await streamPair(pair);
        const goaway = once(pair.far, 'goaway');
        const closed = Promise.all([pair.near.close(), endOf(pair.far)]);
        await within('go away', goaway);
        expect(() => pair.far.open()).toThrow(expect.objectContaining({ code: 'ERR_STARLANE_GO_AWAY' }));
        here.end(pattern(WINDOW * 2));
        there.end('done');
        const [received] = await Promise.all([readAll(there), readAll(here)]);
        expect(received.length).toBe(2 * WINDOW);
        await within('both sessions closed', closed);
        expect([pair.near.error, pair.far.error]).toEqual([undefined, undefined]);
      });

      it('lose the link: every stream and every write fails once, and the sessions say why', async () => {
        const pair = await start();
        const streams: Stream[] = [];
        const closes: Array<Promise<Error | undefined>> = [];
        const callbacks: Array<number> = [];
        for (let index = 0; index < 10; index++) {
          const { here, there } = await streamPair(pair);
          streams.push(here, there);
          closes.push(closeOf(here), closeOf(there));
          for (let write = 0; write < 3; write++) {
            const position = callbacks.push(0) - 1;
            here.write(pattern(WINDOW), () => callbacks[position]++);
          }
        }
        const closed = Promise.all([endOf(pair.near), endOf(pair.far)]);
        pair.farEnd.destroy();
        await within('both sessions closed', closed);
        expect(pair.near.error).toMatchObject({ code: expect.stringMatching(/LINK_LOST|TRANSPORT/) });
        expect(pair.far.error).toMatchObject({ code: 'ERR_STARLANE_LINK_LOST' });
        const errors = await Promise.all(closes);
        for (const error of errors) expect(error).toMatchObject({ code: expect.stringMatching(/LINK_LOST|TRANSPORT/) });
        expect(callbacks).toEqual(callbacks.map(() => 1));
      });
    });
  }
}
