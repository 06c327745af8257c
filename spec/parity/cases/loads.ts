// Much of everything: bytes, writes, sockets.

import { createHash, randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { expect } from '@jest/globals';
import { next, readAll, soon, type Topic, type Trial } from '../trial.js';

const MIB = 1024 * 1024;

/** The digest of everything that arrives until the end. */
function digestOf(socket: Socket): Promise<string> {
  const digest = createHash('sha256');
  return soon(
    "'end'",
    new Promise((resolve) => {
      socket.on('data', (chunk: Buffer) => digest.update(chunk));
      socket.once('end', () => resolve(digest.digest('hex')));
    }),
  );
}

/** Sends a block so many times, as fast as the socket takes it. Answers with the digest of all of it. */
function send(socket: Socket, block: Buffer, times: number): string {
  const digest = createHash('sha256');
  for (let count = 0; count < times; count++) digest.update(block);
  Readable.from(
    (function* blocks() {
      for (let count = 0; count < times; count++) yield block;
    })(),
  ).pipe(socket);
  return digest.digest('hex');
}

async function echoes(t: Trial): Promise<import('node:net').Server> {
  return t.listening(t.server({ allowHalfOpen: true }, (socket) => socket.pipe(socket)));
}

export const LOADS: Topic = {
  name: 'a load of',
  cases: [
    {
      title: '16 MiB both ways at once arrives unchanged',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair({ server: { allowHalfOpen: true }, client: { allowHalfOpen: true } });
        const arrived = Promise.all([digestOf(near), digestOf(far)]);
        const sent = [send(far, randomBytes(100_003), 168), send(near, randomBytes(65_537), 256)];
        expect(await arrived).toEqual(sent);
        expect([near.bytesRead, far.bytesWritten]).toEqual([100_003 * 168, 100_003 * 168]);
        expect([far.bytesRead, near.bytesWritten]).toEqual([65_537 * 256, 65_537 * 256]);
      },
    },
    {
      title: '20,000 small writes arrives in order',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        const arrived = readAll(far);
        let text = '';
        for (let count = 0; count < 20_000; count++) {
          near.write(`${count},`);
          text += `${count},`;
        }
        near.end();
        expect((await arrived).equals(Buffer.from(text))).toBe(true);
      },
    },
    {
      title: 'one write of 32 MiB arrives and calls back once',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        const block = randomBytes(32 * MIB);
        const arrived = digestOf(far);
        let calls = 0;
        near.write(block, () => calls++);
        near.end();
        expect(await arrived).toBe(createHash('sha256').update(block).digest('hex'));
        expect(calls).toBe(1);
      },
    },
    {
      title: 'unread bytes makes write return false, and drain follows when they are read',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair({ server: { pauseOnConnect: true } });
        const block = Buffer.alloc(64 * 1024);
        let written = 0;
        do {
          written += block.length;
        } while (near.write(block) && written < 128 * MIB);
        expect(written).toBeLessThan(128 * MIB);
        expect(near.writableNeedDrain).toBe(true);
        expect(near.writableLength).toBeGreaterThan(0);
        let isDrained = false;
        const drained = next(near, 'drain').then(() => {
          isDrained = true;
        });
        expect(isDrained).toBe(false);
        const arrived = digestOf(far);
        far.resume();
        await drained;
        expect(near.writableLength).toBe(0);
        near.end();
        await arrived;
        expect(far.bytesRead).toBe(written);
      },
    },
    {
      title: 'bytes for a reader that pauses repeatedly arrives unchanged',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        const arrived = digestOf(far);
        far.on('data', () => {
          far.pause();
          setImmediate(() => far.resume());
        });
        const sent = send(near, randomBytes(10_007), 300);
        expect(await arrived).toBe(sent);
      },
    },
    {
      title: '300 sockets at once gives each of them its own echo',
      run: async (_carrier, t) => {
        const server = await echoes(t);
        const texts = await Promise.all(
          Array.from({ length: 300 }, (_, number) => {
            const near = t.connect(server);
            const arrived = readAll(near);
            near.end(`socket ${number}`);
            return arrived;
          }),
        );
        expect(texts.map(String)).toEqual(Array.from({ length: 300 }, (_, number) => `socket ${number}`));
      },
    },
    {
      title: '200 sockets one after the other leaves none behind',
      run: async (_carrier, t) => {
        const server = await echoes(t);
        const ends: Array<Promise<unknown>> = [];
        server.on('connection', (socket: Socket) => ends.push(next(socket, 'close')));
        for (let count = 0; count < 200; count++) {
          const near = t.connect(server);
          const closed = next(near, 'close');
          near.resume().end('x');
          await closed;
        }
        await Promise.all(ends);
        const left = await new Promise((resolve) => server.getConnections((_error, count) => resolve(count)));
        expect([ends.length, left]).toEqual([200, 0]);
      },
    },
    {
      title: 'bytes on one socket does not block another socket',
      run: async (_carrier, t) => {
        const server = await t.listening(t.server({ pauseOnConnect: true }));
        const busy = await t.ends(server);
        while (busy.near.write(Buffer.alloc(64 * 1024)));
        const free = await t.ends(server);
        free.far.resume();
        const arrived = readAll(free.far);
        free.near.end('through');
        expect(String(await arrived)).toBe('through');
        expect(busy.far.bytesRead).toBeLessThanOrEqual(busy.near.bytesWritten);
      },
    },
    {
      title: 'sockets that are destroyed in the middle leaves the server working',
      run: async (_carrier, t) => {
        const server = await echoes(t);
        const pairs = await Promise.all(Array.from({ length: 50 }, () => t.ends(server)));
        for (const { near } of pairs) {
          near.write(Buffer.alloc(200_000));
          near.destroy();
        }
        await Promise.all(pairs.map(({ far }) => (far.destroyed ? undefined : next(far, 'close'))));
        const near = t.connect(server);
        const arrived = readAll(near);
        near.end('alive');
        expect(String(await arrived)).toBe('alive');
      },
    },
  ],
};
