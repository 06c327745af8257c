// setTimeout and the event timeout, and the methods that tune a socket.

import type { Socket } from 'node:net';
import { expect } from '@jest/globals';
import { turn } from '../../support/turns.js';
import { next, soon, type Topic, thrownBy } from '../trial.js';

type SetTimeout = (...values: unknown[]) => Socket;

export const IDLING: Topic = {
  name: 'setTimeout',
  cases: [
    {
      title: 'emits timeout when nothing is sent or received, and leaves the socket open',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        expect(near.setTimeout(5)).toBe(near);
        expect(await next(near, 'timeout')).toEqual([]);
        expect([near.destroyed, near.readyState]).toEqual([false, 'open']);
        far.write('still here');
        const [chunk] = await next(near, 'data');
        expect(String(chunk)).toBe('still here');
      },
    },
    {
      title: 'sets the property timeout',
      run: (_carrier, t) => {
        const socket = t.socket();
        expect(socket.timeout).toBeUndefined();
        socket.setTimeout(5000);
        expect(socket.timeout).toBe(5000);
        socket.setTimeout(0);
        expect(socket.timeout).toBe(0);
      },
    },
    {
      title: 'adds its callback as a once listener',
      run: async (_carrier, t) => {
        const { near } = await t.pair();
        let calls = 0;
        near.setTimeout(2, () => calls++);
        expect(near.listenerCount('timeout')).toBe(1);
        await next(near, 'timeout');
        expect(near.listenerCount('timeout')).toBe(0);
        near.emit('timeout');
        expect(calls).toBe(1);
      },
    },
    {
      title: 'of 0 removes its callback',
      run: (_carrier, t) => {
        const socket = t.socket();
        const listener = (): void => {};
        socket.setTimeout(5000, listener);
        expect(socket.listenerCount('timeout')).toBe(1);
        socket.setTimeout(0, listener);
        expect(socket.listenerCount('timeout')).toBe(0);
      },
    },
    {
      title: 'of 0 turns it off',
      run: async (_carrier, t) => {
        const server = await t.listening();
        const [off, on] = [(await t.ends(server)).near, (await t.ends(server)).near];
        let isTold = false;
        off.on('timeout', () => {
          isTold = true;
        });
        off.setTimeout(2);
        off.setTimeout(0);
        on.setTimeout(20);
        await next(on, 'timeout');
        expect(isTold).toBe(false);
      },
    },
    {
      title: 'starts over with data in either direction',
      run: async (_carrier, t) => {
        const [idle, writer, reader] = [await t.pair(), await t.pair(), await t.pair()];
        const events: string[] = [];
        const names = { idle, writer, reader };
        for (const [name, { near, far }] of Object.entries(names)) {
          near.resume();
          far.resume();
          near.setTimeout(200, () => events.push(name));
        }
        const over = [next(writer.near, 'timeout'), next(reader.near, 'timeout')];
        while (events.length === 0) {
          writer.near.write('.');
          reader.far.write('.');
          await turn();
        }
        expect(events).toEqual(['idle']);
        await Promise.all(over);
      },
    },
    {
      title: 'emits timeout while the socket connects',
      run: (_carrier, t) => {
        const socket = t.socket();
        socket.setTimeout(3);
        return next(socket, 'timeout').then(() => {
          expect(socket.destroyed).toBe(false);
        });
      },
    },
    {
      title: 'emits nothing after destroy',
      run: async (_carrier, t) => {
        const server = await t.listening();
        const [gone, other] = [(await t.ends(server)).near, (await t.ends(server)).near];
        let isTold = false;
        gone.on('timeout', () => {
          isTold = true;
        });
        gone.setTimeout(2);
        gone.destroy();
        other.setTimeout(20);
        await next(other, 'timeout');
        expect(isTold).toBe(false);
      },
    },
    {
      title: 'works on accepted sockets',
      run: async (_carrier, t) => {
        const { far } = await t.pair();
        await soon('the timeout', new Promise<void>((resolve) => far.setTimeout(2, resolve)));
        expect(far.destroyed).toBe(false);
      },
    },
    {
      title: 'is also an option of connect',
      run: async (_carrier, t) => {
        const near = t.connect(await t.listening(), { timeout: 5 });
        expect(near.timeout).toBe(5);
        await next(near, 'timeout');
      },
    },
    {
      title: 'throws ERR_OUT_OF_RANGE for an invalid time',
      run: (_carrier, t) => {
        const socket = t.socket();
        for (const value of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
          expect(thrownBy(() => socket.setTimeout(value))).toMatchObject({
            name: 'RangeError',
            code: 'ERR_OUT_OF_RANGE',
            message: `The value of "msecs" is out of range. It must be a non-negative finite number. Received ${value}`,
          });
        }
      },
    },
    {
      title: 'throws ERR_INVALID_ARG_TYPE for a time that is not a number',
      run: (_carrier, t) => {
        const socket = t.socket();
        for (const value of ['100', undefined, null, {}, true]) {
          expect(thrownBy(() => (socket.setTimeout as SetTimeout).call(socket, value))).toMatchObject({
            name: 'TypeError',
            code: 'ERR_INVALID_ARG_TYPE',
          });
        }
        expect(thrownBy(() => (socket.setTimeout as SetTimeout).call(socket, '100')).message).toBe(
          'The "msecs" argument must be of type number. Received type string (\'100\')',
        );
      },
    },
    {
      title: 'throws ERR_INVALID_ARG_TYPE for a callback that is not a function',
      run: (_carrier, t) => {
        const socket = t.socket();
        for (const value of ['x', 5, {}, null]) {
          expect(thrownBy(() => (socket.setTimeout as SetTimeout).call(socket, 1000, value))).toMatchObject({
            name: 'TypeError',
            code: 'ERR_INVALID_ARG_TYPE',
          });
        }
      },
    },
    {
      title: 'has setNoDelay and setKeepAlive beside it, which return the socket in any state',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        const closed = next(near, 'close');
        for (const socket of [t.socket(), near, far]) {
          expect(socket.setNoDelay().setNoDelay(false).setNoDelay(true)).toBe(socket);
          expect(socket.setKeepAlive().setKeepAlive(true).setKeepAlive(true, 1000).setKeepAlive(false)).toBe(socket);
        }
        near.destroy();
        await closed;
        expect(near.setNoDelay().setKeepAlive(true)).toBe(near);
      },
    },
    {
      title: 'has ref and unref beside it, which return the socket in any state',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        const connecting = t.connect(await t.listening());
        for (const socket of [t.socket(), connecting, near, far]) {
          expect(socket.unref().unref().ref().ref()).toBe(socket);
        }
        await next(connecting, 'connect');
        const closed = next(near, 'close');
        near.destroy();
        await closed;
        expect(near.ref().unref()).toBe(near);
      },
    },
  ],
};
