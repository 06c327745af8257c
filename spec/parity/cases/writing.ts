// write: its results, its callbacks, and its errors for wrong values and at wrong times.

import type { Socket } from 'node:net';
import { expect } from '@jest/globals';
import { turn } from '../../support/turns.js';
import { called, next, readAll, readBytes, soon, type Topic, thrownBy } from '../trial.js';

type Write = (...values: unknown[]) => boolean;

function write(socket: Socket, ...values: unknown[]): boolean {
  return (socket.write as Write).call(socket, ...values);
}

/** What the callback of a write gets. */
function outcomeOf(start: (callback: (error?: Error | null) => void) => void): Promise<NodeJS.ErrnoException | null> {
  const outcome = new Promise<NodeJS.ErrnoException | null>((resolve) => {
    start((error) => resolve(error ?? null));
  });
  return soon('the callback of a write', outcome);
}

export const WRITING: Topic = {
  name: 'write',
  cases: [
    {
      title: 'delivers buffers, arrays and text of any encoding',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        const arrived = readAll(far);
        near.write(Buffer.from('a'));
        near.write(new Uint8Array([98]));
        near.write('c');
        near.write('64', 'hex');
        near.write('ZQ==', 'base64');
        near.write('\u00e9', 'latin1');
        near.end();
        expect((await arrived).toString('latin1')).toBe('abcde\u00e9');
      },
    },
    {
      title: "delivers a view's part of its buffer",
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        const arrived = readAll(far);
        near.end(new Uint8Array(Buffer.from('-hello-')).subarray(1, 6));
        expect(String(await arrived)).toBe('hello');
      },
    },
    {
      title: 'uses the encoding of setDefaultEncoding',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        const arrived = readAll(far);
        near.setDefaultEncoding('hex');
        near.write('68656c6c6f');
        near.end();
        expect(String(await arrived)).toBe('hello');
      },
    },
    {
      title: 'calls back once, without an error, not in the same tick',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        far.resume();
        const calls: unknown[][] = [];
        const done = outcomeOf((callback) => {
          near.write('hello', (...values) => {
            calls.push(values);
            callback(values[0]);
          });
        });
        expect(calls).toEqual([]);
        expect(await done).toBeNull();
        await turn();
        expect(calls).toHaveLength(1);
      },
    },
    {
      title: 'calls back in the order of the writes',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        far.resume();
        const seen: number[] = [];
        near.write('a', () => seen.push(1));
        near.write('b', 'utf8', () => seen.push(2));
        near.write(Buffer.alloc(100_000), () => seen.push(3));
        await called((done) => near.write('c', done));
        expect(seen).toEqual([1, 2, 3]);
      },
    },
    {
      title: 'returns whether there is room below the highWaterMark',
      run: async (_carrier, t) => {
        const server = await t.listening(t.server((socket) => socket.resume()));
        const near = t.connect(server, { highWaterMark: 1000 });
        expect(near.write(Buffer.alloc(999))).toBe(true);
        expect(near.write(Buffer.alloc(1))).toBe(false);
        expect(near.writableNeedDrain).toBe(true);
        await next(near, 'drain');
        expect([near.writableNeedDrain, near.write('x')]).toEqual([false, true]);
      },
    },
    {
      title: 'before the connection is delivered, in order, and calls back after connect',
      run: async (_carrier, t) => {
        const server = await t.listening();
        const accepted = next<[Socket]>(server, 'connection');
        const near = t.connect(server);
        const seen: string[] = [];
        near.on('connect', () => seen.push('connect'));
        near.write('one ', () => seen.push('one'));
        near.write('two ', () => seen.push('two'));
        near.end('three', () => seen.push('end'));
        const [far] = await accepted;
        expect(String(await readAll(far))).toBe('one two three');
        await next(near.resume(), 'close');
        expect(seen).toEqual(['connect', 'one', 'two', 'end']);
      },
    },
    {
      title: 'after end calls back with ERR_STREAM_WRITE_AFTER_END, which is emitted too',
      run: async (_carrier, t) => {
        const { near } = await t.pair({ server: { allowHalfOpen: true } });
        near.end();
        const failed = next(near, 'error');
        const expected = { name: 'Error', code: 'ERR_STREAM_WRITE_AFTER_END', message: 'write after end' };
        const outcome = outcomeOf((callback) => expect(near.write('x', callback)).toBe(false));
        expect(await outcome).toMatchObject(expected);
        expect((await failed)[0]).toMatchObject(expected);
      },
    },
    {
      title: 'after the other end has ended calls back with EPIPE',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        const ended = next(far, 'end');
        far.resume();
        near.end();
        await ended;
        await new Promise(process.nextTick);
        const outcome = outcomeOf((callback) => expect(far.write('x', callback)).toBe(false));
        expect(await outcome).toMatchObject({
          name: 'Error',
          code: 'EPIPE',
          message: 'This socket has been ended by the other party',
        });
      },
    },
    {
      title: 'emits EPIPE when the other end has ended and this end is closing',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        const failed = next(far, 'error');
        far.on('end', () => process.nextTick(() => process.nextTick(() => far.write('x'))));
        far.resume();
        const closed = next(far, 'close');
        near.end();
        expect((await failed)[0]).toMatchObject({ code: 'EPIPE' });
        expect(await closed).toEqual([true]);
      },
    },
    {
      title: 'in the listener for end is still delivered',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        far.on('end', () => far.write('goodbye'));
        far.resume();
        const arrived = readAll(near);
        near.end();
        expect(String(await arrived)).toBe('goodbye');
      },
    },
    {
      title: 'after destroy calls back with ERR_STREAM_DESTROYED, and emits nothing',
      run: async (_carrier, t) => {
        const { near } = await t.pair();
        let isTold = false;
        near.on('error', () => {
          isTold = true;
        });
        const closed = next(near, 'close');
        near.destroy();
        const outcome = outcomeOf((callback) => expect(near.write('x', callback)).toBe(false));
        expect(await outcome).toMatchObject({
          name: 'Error',
          code: 'ERR_STREAM_DESTROYED',
          message: 'Cannot call write after a stream was destroyed',
        });
        await closed;
        expect(isTold).toBe(false);
      },
    },
    {
      title: 'before a destroy that precedes the connection calls back with an error',
      run: async (_carrier, t) => {
        const near = t.connect(await t.listening());
        const first = outcomeOf((callback) => near.write('x', callback));
        const second = outcomeOf((callback) => near.write('y', callback));
        near.destroy();
        const expected = {
          name: 'Error',
          code: 'ERR_SOCKET_CLOSED_BEFORE_CONNECTION',
          message: 'Socket closed before the connection was established',
        };
        expect(await first).toMatchObject(expected);
        expect(await second).toMatchObject(expected);
      },
    },
    {
      title: 'that is pending when the socket is destroyed calls back with the error of destroy',
      run: async (_carrier, t) => {
        const { near } = await t.pair();
        near.cork();
        const reason = new Error('enough');
        const outcome = outcomeOf((callback) => near.write('x', callback));
        near.destroy(reason);
        expect(await outcome).toBe(reason);
      },
    },
    {
      title: 'that is pending when the socket is destroyed without an error calls back with ERR_STREAM_DESTROYED',
      run: async (_carrier, t) => {
        const { near } = await t.pair();
        near.cork();
        const outcome = outcomeOf((callback) => near.write('x', callback));
        near.destroy();
        expect(await outcome).toMatchObject({
          code: 'ERR_STREAM_DESTROYED',
          message: 'Cannot call write after a stream was destroyed',
        });
      },
    },
    {
      title: 'on a socket that was never connected fails with ERR_SOCKET_CLOSED',
      run: async (_carrier, t) => {
        const socket = t.socket();
        const expected = { name: 'Error', code: 'ERR_SOCKET_CLOSED', message: 'Socket is closed' };
        const failed = next(socket, 'error');
        const closed = next(socket, 'close');
        const outcome = outcomeOf((callback) => socket.write('x', callback));
        expect(await outcome).toMatchObject(expected);
        expect((await failed)[0]).toMatchObject(expected);
        await closed;
        expect(socket.destroyed).toBe(true);
      },
    },
    {
      title: 'throws ERR_STREAM_NULL_VALUES for null',
      run: async (_carrier, t) => {
        const { near } = await t.pair();
        expect(thrownBy(() => write(near, null))).toMatchObject({
          name: 'TypeError',
          code: 'ERR_STREAM_NULL_VALUES',
          message: 'May not write null values to stream',
        });
        expect(near.destroyed).toBe(false);
      },
    },
    {
      title: 'throws ERR_INVALID_ARG_TYPE for a value that is neither text nor bytes',
      run: async (_carrier, t) => {
        const { near } = await t.pair();
        for (const value of [5, true, {}, [], undefined, () => {}]) {
          expect(thrownBy(() => write(near, value))).toMatchObject({ name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' });
        }
        expect(thrownBy(() => write(near, 5)).message).toMatch(
          /^The "chunk" argument must be of type string or an instance of Buffer, TypedArray, or DataView\..*number \(5\)$|^The "chunk" argument must be of type string or an instance of Buffer or Uint8Array\. Received type number \(5\)$/,
        );
        expect(near.bytesWritten).toBe(0);
      },
    },
    {
      title: 'throws ERR_UNKNOWN_ENCODING for an unknown encoding',
      run: async (_carrier, t) => {
        const { near } = await t.pair();
        expect(thrownBy(() => write(near, 'x', 'klingon'))).toMatchObject({
          name: 'TypeError',
          code: 'ERR_UNKNOWN_ENCODING',
          message: 'Unknown encoding: klingon',
        });
      },
    },
    {
      title: 'before connect throws the same errors for wrong values',
      run: async (_carrier, t) => {
        const near = t.connect(await t.listening());
        expect(thrownBy(() => write(near, null))).toMatchObject({ code: 'ERR_STREAM_NULL_VALUES' });
        expect(thrownBy(() => write(near, 5))).toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' });
        expect(near.bytesWritten).toBe(0);
        await next(near, 'connect');
      },
    },
    {
      title: 'that is corked is sent on uncork, in order',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        const seen: number[] = [];
        near.cork();
        near.write('one ', () => seen.push(1));
        near.write(Buffer.from('two '), () => seen.push(2));
        near.write('dGhyZWU=', 'base64', () => seen.push(3));
        expect(near.writableCorked).toBe(1);
        const arrived = readBytes(far, 13);
        near.uncork();
        expect(String(await arrived)).toBe('one two three');
        await called((done) => near.write('', done));
        expect(seen).toEqual([1, 2, 3]);
      },
    },
    {
      title: 'does not deliver what the caller changes after the callback',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        const arrived = readAll(far);
        const chunk = Buffer.from('hello');
        await called((done) => near.write(chunk, done));
        chunk.fill('x');
        near.end();
        expect(String(await arrived)).toBe('hello');
      },
    },
  ],
};
