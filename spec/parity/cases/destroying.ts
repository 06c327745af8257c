// destroy and resetAndDestroy, and what the other end sees of them.

import type { Socket } from 'node:net';
import { getSystemErrorName } from 'node:util';
import { expect } from '@jest/globals';
import { turn } from '../../support/turns.js';
import { next, readAll, readBytes, recorded, type Topic } from '../trial.js';

export const DESTROYING: Topic = {
  name: 'destroy',
  cases: [
    {
      title: 'of a socket that was never connected emits close alone',
      run: async (_carrier, t) => {
        const socket = t.socket();
        const seen = recorded(socket, ['error', 'end', 'finish', 'close']);
        const closed = next(socket, 'close');
        expect(socket.destroy()).toBe(socket);
        await closed;
        expect(seen).toEqual(['close']);
        expect([socket.destroyed, socket.readyState]).toEqual([true, 'closed']);
      },
    },
    {
      title: 'with an error of a socket that was never connected emits error and close',
      run: async (_carrier, t) => {
        const socket = t.socket();
        const seen = recorded(socket, ['error', 'close']);
        const closed = next(socket, 'close');
        socket.destroy(new Error('enough'));
        await closed;
        expect(seen).toEqual(['error', 'close']);
      },
    },
    {
      title: 'with an error before the connection emits error and close, and does not affect the server',
      run: async (_carrier, t) => {
        const server = await t.listening();
        const near = t.connect(server);
        const seen = recorded(near, ['connect', 'ready', 'error', 'end', 'finish', 'close']);
        const closed = next(near, 'close');
        near.destroy(new Error('enough'));
        expect(await closed).toEqual([true]);
        await t.ends(server);
        expect(seen).toEqual(['error', 'close']);
      },
    },
    {
      title: 'takes effect in the listener for connect',
      run: async (_carrier, t) => {
        const server = await t.listening();
        const near = t.connect(server, {}, () => near.destroy());
        const seen = recorded(near, ['data', 'end', 'error', 'close']);
        await next(near, 'close');
        expect(seen).toEqual(['close']);
      },
    },
    {
      title: 'in the listener for data ends reading at once',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        let chunks = 0;
        far.on('data', () => {
          chunks++;
          far.destroy();
        });
        near.write(Buffer.alloc(500_000));
        await next(far, 'close');
        await turn();
        expect(chunks).toBe(1);
      },
    },
    {
      title: 'delivers what was written and called back before',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        const arrived = readAll(far);
        near.write('hello', () => near.destroy());
        expect(String(await arrived)).toBe('hello');
      },
    },
    {
      title: 'with an error delivers what was written before, and a regular end',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        const seen = recorded(far, ['end', 'error', 'close']);
        const arrived = readAll(far);
        const closed = next(far, 'close');
        near.write('HTTP/1.1 400 Bad Request\r\n\r\n');
        near.destroy(new Error('enough'));
        expect(String(await arrived)).toBe('HTTP/1.1 400 Bad Request\r\n\r\n');
        expect(await closed).toEqual([false]);
        expect(seen).toEqual(['end', 'close']);
      },
    },
    {
      title: 'makes the other end close, which may not see an error',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair({ server: { allowHalfOpen: true } });
        const ended = next(far, 'end');
        far.resume();
        near.destroy();
        await ended;
        const closed = next(far, 'close');
        far.end();
        await closed;
      },
    },
    {
      title: 'of one of many sockets leaves the others alone',
      run: async (_carrier, t) => {
        const server = await t.listening(t.server((socket) => socket.pipe(socket)));
        const [one, two, three] = await Promise.all([t.ends(server), t.ends(server), t.ends(server)]);
        two.near.destroy(new Error('only this one'));
        for (const { near } of [one, three]) {
          const back = readBytes(near, 5);
          near.write('hello');
          expect(String(await back)).toBe('hello');
        }
      },
    },
    {
      title: 'by Symbol.asyncDispose resolves when the socket is closed',
      run: async (_carrier, t) => {
        const { near } = await t.pair();
        await near[Symbol.asyncDispose]();
        expect([near.destroyed, near.readyState]).toEqual([true, 'closed']);
      },
    },
    {
      title: 'happens automatically when both directions have ended',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        near.resume();
        far.resume();
        const closed = next(near, 'close');
        near.end();
        await closed;
        expect(near.destroyed).toBe(true);
      },
    },
    {
      title: 'by resetAndDestroy closes this end without an error',
      run: async (_carrier, t) => {
        const { near } = await t.pair();
        const seen = recorded(near, ['error', 'end', 'finish', 'close']);
        const closed = next(near, 'close');
        expect(near.resetAndDestroy()).toBe(near);
        expect([near.destroyed, near.readyState]).toEqual([true, 'closed']);
        expect(await closed).toEqual([false]);
        expect(seen).toEqual(['close']);
      },
    },
    {
      title: 'by resetAndDestroy is ECONNRESET at the other end',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        const seen = recorded(far, ['end', 'error', 'close']);
        far.resume();
        const [failed, closed] = [next(far, 'error'), next(far, 'close')];
        near.resetAndDestroy();
        const [error] = (await failed) as [NodeJS.ErrnoException];
        expect(error).toMatchObject({
          name: 'Error',
          code: 'ECONNRESET',
          syscall: 'read',
          message: 'read ECONNRESET',
        });
        expect(getSystemErrorName(error.errno as number)).toBe('ECONNRESET');
        expect(await closed).toEqual([true]);
        expect(seen).toEqual(['error', 'close']);
      },
    },
    {
      title: 'by resetAndDestroy of the accepted end is ECONNRESET at the dialling end',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        near.resume();
        const failed = next(near, 'error');
        far.resetAndDestroy();
        expect((await failed)[0]).toMatchObject({ code: 'ECONNRESET', syscall: 'read' });
      },
    },
    {
      title: 'by resetAndDestroy before the connection takes effect after it',
      run: async (_carrier, t) => {
        const server = await t.listening();
        const accepted = next<[Socket]>(server, 'connection');
        const near = t.connect(server);
        const seen = recorded(near, ['connect', 'error', 'close']);
        expect(near.resetAndDestroy()).toBe(near);
        expect([near.destroyed, near.connecting]).toEqual([false, true]);
        const closed = next(near, 'close');
        const [far] = await accepted;
        far.resume();
        await Promise.all([closed, next(far, 'close')]);
        expect(seen).toEqual(['connect', 'close']);
      },
    },
    {
      title: 'by resetAndDestroy of a socket that was never connected is ERR_SOCKET_CLOSED',
      run: async (_carrier, t) => {
        const socket = t.socket();
        const [failed, closed] = [next(socket, 'error'), next(socket, 'close')];
        expect(socket.resetAndDestroy()).toBe(socket);
        expect((await failed)[0]).toMatchObject({
          name: 'Error',
          code: 'ERR_SOCKET_CLOSED',
          message: 'Socket is closed',
        });
        await closed;
      },
    },
    {
      title: 'by resetAndDestroy after destroy does nothing more',
      run: async (_carrier, t) => {
        const { near } = await t.pair();
        const seen = recorded(near, ['error', 'close']);
        const closed = next(near, 'close');
        near.destroy();
        expect(near.resetAndDestroy()).toBe(near);
        await closed;
        await turn();
        expect(seen).toEqual(['close']);
      },
    },
    {
      title: 'with unread data at this end closes the other end all the same',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        near.resume();
        near.write('never read');
        await next(far, 'readable');
        const closed = next(near, 'close');
        far.destroy();
        await closed;
        expect(near.destroyed).toBe(true);
      },
    },
    {
      title: 'makes the other end fail when it goes on writing',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair({ server: { allowHalfOpen: true } });
        const ended = next(far, 'end');
        far.resume();
        near.destroy();
        await ended;
        const [failed, closed] = [next(far, 'error'), next(far, 'close')];
        const writing = (): void => {
          if (far.writable) far.write('x', () => setImmediate(writing));
        };
        writing();
        const [error] = (await failed) as [NodeJS.ErrnoException];
        expect(['EPIPE', 'ECONNRESET']).toContain(error.code);
        expect(await closed).toEqual([true]);
      },
    },
  ],
};
