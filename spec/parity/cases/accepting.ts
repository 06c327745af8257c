// What the options of a server mean for the sockets it accepts.

import { EventEmitter } from 'node:events';
import { getDefaultHighWaterMark } from 'node:stream';
import { expect } from '@jest/globals';
import { turn } from '../../support/turns.js';
import { next, readAll, type Topic } from '../trial.js';

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
