// A socket that is connected again after its end.

import type { Server, Socket } from 'node:net';
import { expect } from '@jest/globals';
import { vacantPort } from '../carriers.js';
import { next, readAll, readBytes, recorded, type Topic, type Trial } from '../trial.js';

/** A server that sends every socket a word and ends it. */
async function greeter(t: Trial): Promise<Server> {
  return t.listening(t.server((socket) => socket.resume().end('hello')));
}

async function again(t: Trial, socket: Socket, server: Server): Promise<void> {
  const ready = next(socket, 'ready');
  expect(socket.connect(t.to(server))).toBe(socket);
  await ready;
}

export const RECONNECTING: Topic = {
  name: 'connecting again',
  cases: [
    {
      title: 'resets the state of a socket after its end',
      run: async (_carrier, t) => {
        const server = await greeter(t);
        const near = t.connect(server);
        let text = '';
        near.on('data', (chunk) => {
          text += chunk;
        });
        await next(near, 'close');
        const seen: unknown[] = [];
        near.on('connect', () => seen.push(near.readyState, near.pending, near.closed, near.writable));
        const closed = next(near, 'close');
        near.connect(t.to(server));
        expect([near.readyState, near.connecting, near.pending, near.destroyed]).toEqual([
          'opening',
          true,
          true,
          false,
        ]);
        await closed;
        expect(seen).toEqual(['open', false, false, true]);
        expect(text).toBe('hellohello');
      },
    },
    {
      title: 'has the same events again, in the same order',
      run: async (_carrier, t) => {
        const server = await greeter(t);
        const near = t.connect(server);
        const seen = recorded(near, ['connect', 'ready', 'data', 'end', 'finish', 'error', 'close']);
        await next(near, 'close');
        const once = [...seen];
        near.connect(t.to(server));
        await next(near, 'close');
        expect(once).toEqual(['connect', 'ready', 'data', 'end', 'finish', 'close']);
        expect(seen).toEqual([...once, ...once]);
      },
    },
    {
      title: 'counts from 0 again',
      run: async (_carrier, t) => {
        const server = await t.listening(t.server((socket) => socket.pipe(socket)));
        const near = t.connect(server);
        const first = readBytes(near, 5);
        near.write('hello');
        await first;
        near.destroy();
        await next(near, 'close');
        expect([near.bytesRead, near.bytesWritten]).toEqual([5, 5]);
        await again(t, near, server);
        expect([near.bytesRead, near.bytesWritten]).toEqual([0, 0]);
        const second = readBytes(near, 3);
        near.write('abc');
        await second;
        expect([near.bytesRead, near.bytesWritten]).toEqual([3, 3]);
      },
    },
    {
      title: 'works with another server, whose addresses the socket then has',
      run: async (_carrier, t) => {
        const [one, two] = [await greeter(t), await t.listening(t.server((socket) => socket.resume().end('two')))];
        const near = t.connect(one);
        near.resume();
        await next(near, 'close');
        near.pause();
        await again(t, near, two);
        expect(near.remotePort).toBe(t.to(two).port);
        expect(String(await readAll(near.resume()))).toBe('two');
      },
    },
    {
      title: 'works after a destroy with an error',
      run: async (_carrier, t) => {
        const server = await greeter(t);
        const { near } = await t.ends(server);
        const closed = next(near, 'close');
        near.destroy(new Error('enough'));
        expect(await closed).toEqual([true]);
        await again(t, near, server);
        expect(near.errored).toBeNull();
        const over = next(near, 'close');
        near.resume();
        expect(await over).toEqual([false]);
      },
    },
    {
      title: 'works after a refused connection',
      run: async ({ clientNet }, t) => {
        const near = t.keep(clientNet.connect(await vacantPort(clientNet), '127.0.0.1'));
        await next(near, 'close');
        await again(t, near, await greeter(t));
        expect(String(await readAll(near))).toBe('hello');
      },
    },
    {
      title: 'works after a reset by the other end',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        const closed = next(near, 'close');
        near.resume();
        far.resetAndDestroy();
        await closed;
        near.pause();
        await again(t, near, await greeter(t));
        expect(String(await readAll(near.resume()))).toBe('hello');
      },
    },
    {
      title: 'works in the listener for close, many times',
      run: async (_carrier, t) => {
        const server = await greeter(t);
        const near = t.connect(server);
        let text = '';
        near.on('data', (chunk) => {
          text += chunk;
        });
        await new Promise<void>((resolve) => {
          let rounds = 0;
          near.on('close', () => {
            rounds++;
            if (rounds === 5) resolve();
            else near.connect(t.to(server));
          });
        });
        expect(text).toBe('hello'.repeat(5));
      },
    },
    {
      title: 'can be written and ended again, also before the connection',
      run: async (_carrier, t) => {
        const server = await t.listening();
        const { near, far } = await t.ends(server);
        far.resume();
        near.resume();
        const closed = next(near, 'close');
        near.end('first');
        await closed;
        const accepted = next<[Socket]>(server, 'connection');
        near.connect(t.to(server));
        near.write('second ');
        near.end('time');
        const [other] = await accepted;
        expect(String(await readAll(other))).toBe('second time');
      },
    },
    {
      title: 'works for a new socket and for one that was destroyed unconnected',
      run: async (_carrier, t) => {
        const server = await greeter(t);
        const socket = t.socket();
        await again(t, socket, server);
        expect(String(await readAll(socket))).toBe('hello');
        const other = t.socket();
        other.destroy();
        await next(other, 'close');
        await again(t, other, server);
        expect(String(await readAll(other))).toBe('hello');
      },
    },
  ],
};
