// What the options of a server mean for the sockets it accepts.

import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { getDefaultHighWaterMark, PassThrough } from 'node:stream';
import { expect } from '@jest/globals';
import { turn } from '../../support/turns.js';
import { next, type Pair, readAll, recorded, soon, type Topic, type Trial } from '../trial.js';

/** A socket that is paused from the beginning, and what the other end has sent is there. */
async function pausedWith(t: Trial, text: string): Promise<Pair> {
  const pair = await t.pair({ server: { pauseOnConnect: true } });
  pair.near.end(text);
  await next(pair.near, 'finish');
  // What goes the same way later has come.
  await t.ends(pair.server);
  return pair;
}

/** Each way to read that begins without resume. */
const WAYS_TO_READ: ReadonlyArray<[name: string, read: (socket: Socket) => Promise<string>]> = [
  [
    'read',
    async (socket) => {
      let text = '';
      const ended = next(socket, 'end');
      const readOn = (): void => {
        for (let chunk = socket.read(); chunk !== null; chunk = socket.read()) text += chunk;
      };
      readOn();
      socket.on('readable', readOn);
      await ended;
      return text;
    },
  ],
  [
    'iteration',
    async (socket) => {
      let text = '';
      for await (const chunk of socket) text += chunk;
      return text;
    },
  ],
  [
    'pipe',
    async (socket) => {
      const through = new PassThrough();
      socket.pipe(through);
      let text = '';
      for await (const chunk of through) text += chunk;
      return text;
    },
  ],
];

export const ACCEPTING: Topic = {
  name: 'an accepted socket',
  cases: [
    {
      title: 'is paused from the beginning with pauseOnConnect, until it is resumed',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair({ server: { pauseOnConnect: true } });
        let arrived = '';
        far.on('data', (chunk) => {
          arrived += chunk;
        });
        expect([far.isPaused(), far.readableFlowing]).toEqual([true, false]);
        near.end('hello');
        await next(near, 'finish');
        await turn();
        expect(arrived).toBe('');
        const ended = next(far, 'end');
        far.resume();
        await ended;
        expect(arrived).toBe('hello');
      },
    },
    {
      title: 'that is paused from the beginning has read nothing, and emits no end',
      run: async (_carrier, t) => {
        const { far } = await pausedWith(t, 'hello');
        const seen = recorded(far, ['data', 'end', 'close']);
        expect([far.bytesRead, far.readableLength, far.isPaused()]).toEqual([0, 0, true]);
        await turn();
        expect([seen, far.bytesRead, far.readyState]).toEqual([[], 0, 'open']);
        const closed = next(far, 'close');
        far.resume();
        await closed;
        expect([seen, far.bytesRead]).toEqual([['data', 'end', 'close'], 5]);
      },
    },
    {
      title: 'that is paused from the beginning can be read in any way',
      run: async (_carrier, t) => {
        for (const [name, read] of WAYS_TO_READ) {
          const { far } = await pausedWith(t, 'hello');
          expect([name, await soon(name, read(far)), far.bytesRead]).toEqual([name, 'hello', 5]);
        }
      },
    },
    {
      title: 'that is paused from the beginning can be written and ended',
      run: async (_carrier, t) => {
        const { near, far } = await pausedWith(t, 'question');
        const answer = readAll(near);
        far.end('answer');
        expect([String(await answer), far.bytesRead]).toEqual(['answer', 0]);
      },
    },
    {
      title: 'that is paused from the beginning and destroyed resets the peer that has not read everything',
      run: async (_carrier, t) => {
        const { server, near, far } = await t.pair({ server: { pauseOnConnect: true } });
        near.write('hello');
        await t.ends(server);
        const failed = next(near, 'error');
        near.resume();
        far.destroy();
        expect((await failed)[0]).toMatchObject({ code: 'ECONNRESET' });
      },
    },
    {
      title: 'is not paused otherwise, and flows from its first data listener on',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        expect([far.isPaused(), far.readableFlowing]).toEqual([false, null]);
        near.end('hello');
        await next(near, 'finish');
        expect(String(await readAll(far))).toBe('hello');
      },
    },
    {
      title: 'ends when the other end does, without allowHalfOpen',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair({ client: { allowHalfOpen: true } });
        expect(far.allowHalfOpen).toBe(false);
        const [nearEnded, farClosed] = [next(near, 'end'), next(far, 'close')];
        near.resume();
        far.resume();
        near.end();
        await Promise.all([nearEnded, farClosed]);
        expect(far.writableEnded).toBe(true);
      },
    },
    {
      title: 'goes on writing when the other end has ended, with allowHalfOpen',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair({ server: { allowHalfOpen: true } });
        expect(far.allowHalfOpen).toBe(true);
        const ended = next(far, 'end');
        far.resume();
        near.end();
        await ended;
        await turn();
        expect([far.writable, far.destroyed, far.readyState]).toEqual([true, false, 'writeOnly']);
        const answer = readAll(near);
        far.write('one ');
        far.end('two');
        expect(String(await answer)).toBe('one two');
      },
    },
    {
      title: 'has the highWaterMark of the server in both directions',
      run: async (_carrier, t) => {
        const { far } = await t.pair({ server: { highWaterMark: 1234 } });
        expect([far.readableHighWaterMark, far.writableHighWaterMark]).toEqual([1234, 1234]);
      },
    },
    {
      title: 'has the highWaterMark of all streams by default, and for one below zero',
      run: async (_carrier, t) => {
        const common = getDefaultHighWaterMark(false);
        for (const options of [{}, { highWaterMark: -1 }]) {
          const { far } = await t.pair({ server: options });
          expect([far.readableHighWaterMark, far.writableHighWaterMark]).toEqual([common, common]);
        }
      },
    },
    {
      title: 'works with noDelay and keepAlive',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair({
          server: { noDelay: true, keepAlive: true, keepAliveInitialDelay: 1000 },
          client: { noDelay: true, keepAlive: true, keepAliveInitialDelay: 1000 },
        });
        near.end('hello');
        expect(String(await readAll(far))).toBe('hello');
      },
    },
    {
      title: 'is open from the start',
      run: async (_carrier, t) => {
        const states: unknown[] = [];
        const server = t.server((socket) => {
          states.push(socket.readyState, socket.pending, socket.connecting, socket.bytesRead, socket.bytesWritten);
        });
        await t.ends(await t.listening(server));
        expect(states).toEqual(['open', false, false, 0, 0]);
      },
    },
    {
      title: 'emits neither connect nor ready',
      run: async (_carrier, t) => {
        const seen: string[] = [];
        const server = t.server((socket) => {
          for (const name of ['connect', 'ready']) socket.on(name, () => seen.push(name));
        });
        const { near, far } = await t.ends(await t.listening(server));
        near.end('hello');
        await readAll(far);
        expect(seen).toEqual([]);
      },
    },
    {
      title: 'can be written and ended in the connection listener',
      run: async (_carrier, t) => {
        const server = await t.listening(
          t.server((socket) => {
            socket.write('hel');
            socket.end('lo');
          }),
        );
        expect(String(await readAll(t.connect(server)))).toBe('hello');
      },
    },
    {
      title: 'can be destroyed in the connection listener',
      run: async (_carrier, t) => {
        const server = await t.listening(t.server((socket) => socket.destroy()));
        const near = t.connect(server);
        near.resume();
        await next(near, 'close');
        expect(near.destroyed).toBe(true);
      },
    },
    {
      title: 'is destroyed with the error of an asynchronous listener, with captureRejections',
      run: async (_carrier, t) => {
        EventEmitter.captureRejections = true;
        try {
          const server = t.server();
          server.on('connection', async (socket) => {
            socket.resume();
            throw new Error('of the listener');
          });
          const accepted = next<[EventEmitter]>(server, 'connection');
          const near = t.connect(await t.listening(server));
          const [far] = await accepted;
          const failed = next(far, 'error');
          near.resume();
          const closed = next(near, 'close');
          expect((await failed)[0]).toMatchObject({ message: 'of the listener' });
          await closed;
        } finally {
          EventEmitter.captureRejections = false;
        }
      },
    },
  ],
};
