// end, half-open sockets and destroySoon.

import type { Socket } from 'node:net';
import { expect } from '@jest/globals';
import { turn } from '../../support/turns.js';
import { called, next, readAll, recorded, type Topic } from '../trial.js';

export const ENDING: Topic = {
  name: 'end',
  cases: [
    {
      title: 'returns the socket, in all its forms',
      run: async (_carrier, t) => {
        const forms: Array<[(socket: Socket, done: () => void) => Socket, string]> = [
          [(socket, done) => socket.end(done), ''],
          [(socket, done) => socket.end('hello', done), 'hello'],
          [(socket, done) => socket.end('68656c6c6f', 'hex', done), 'hello'],
          [(socket, done) => socket.end(Buffer.from('hello'), done), 'hello'],
          [(socket, done) => socket.once('finish', done).end(new Uint8Array([104, 105])), 'hi'],
          [(socket, done) => socket.once('finish', done).end(), ''],
        ];
        const server = await t.listening();
        for (const [start, text] of forms) {
          const { near, far } = await t.ends(server);
          const arrived = readAll(far);
          await called((done) => expect(start(near, done)).toBe(near));
          expect(String(await arrived)).toBe(text);
        }
      },
    },
    {
      title: 'calls back after finish of what was written',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        far.resume();
        const seen: string[] = [];
        near.on('finish', () => seen.push('finish'));
        near.write(Buffer.alloc(100_000), () => seen.push('write'));
        await called((done) => near.end('last', done));
        expect(seen.slice(0, 1)).toEqual(['write']);
        expect(near.writableFinished).toBe(true);
      },
    },
    {
      title: 'twice is one end, and the second callback gets ERR_STREAM_ALREADY_FINISHED once it is finished',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair({ server: { allowHalfOpen: true } });
        const arrived = readAll(far);
        near.end('hello');
        near.end();
        await next(near, 'finish');
        expect(String(await arrived)).toBe('hello');
        await expect(called((done) => near.end(done))).rejects.toMatchObject({ code: 'ERR_STREAM_ALREADY_FINISHED' });
        expect(near.destroyed).toBe(false);
      },
    },
    {
      title: 'with data after end fails with ERR_STREAM_WRITE_AFTER_END',
      run: async (_carrier, t) => {
        const { near } = await t.pair({ server: { allowHalfOpen: true } });
        const failed = next(near, 'error');
        near.end('hello');
        await expect(called((done) => near.end('more', done))).rejects.toMatchObject({
          code: 'ERR_STREAM_WRITE_AFTER_END',
        });
        expect((await failed)[0]).toMatchObject({ code: 'ERR_STREAM_WRITE_AFTER_END' });
      },
    },
    {
      title: 'leaves this end reading',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair({ server: { allowHalfOpen: true } });
        far.on('data', () => {});
        far.on('end', () => {
          far.write('still ');
          far.end('there');
        });
        const arrived = readAll(near);
        near.end('bye');
        expect(String(await arrived)).toBe('still there');
      },
    },
    {
      title: 'lets an echo answer completely, half-open at both ends',
      run: async (_carrier, t) => {
        const server = await t.listening(t.server({ allowHalfOpen: true }, (socket) => socket.pipe(socket)));
        const near = t.connect(server, { allowHalfOpen: true });
        const arrived = readAll(near);
        near.write('hello ');
        near.end('echo');
        expect(String(await arrived)).toBe('hello echo');
        await next(near, 'close');
      },
    },
    {
      title: 'lets an echo answer completely, half-open at neither end',
      run: async (_carrier, t) => {
        const server = await t.listening(t.server((socket) => socket.pipe(socket)));
        const near = t.connect(server);
        const arrived = readAll(near);
        near.end(Buffer.alloc(300_000, 'e'));
        expect(await arrived).toHaveLength(300_000);
      },
    },
    {
      title: 'of the other end leaves a half-open socket as it is until it ends too',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair({ client: { allowHalfOpen: true } });
        const seen = recorded(near, ['end', 'finish', 'close']);
        const ended = next(near, 'end');
        near.resume();
        far.end();
        await ended;
        await turn();
        expect([seen, near.destroyed, near.writable]).toEqual([['end'], false, true]);
        const arrived = readAll(far);
        const closed = next(near, 'close');
        near.end('now');
        expect(String(await arrived)).toBe('now');
        await closed;
        expect(seen).toEqual(['end', 'finish', 'close']);
      },
    },
    {
      title: 'of both ends destroys both sockets without an error',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair({ server: { allowHalfOpen: true }, client: { allowHalfOpen: true } });
        const closes = [next(near, 'close'), next(far, 'close')];
        near.resume();
        far.resume();
        near.end();
        far.end();
        expect(await Promise.all(closes)).toEqual([[false], [false]]);
        expect([near.destroyed, far.destroyed]).toEqual([true, true]);
      },
    },
    {
      title: 'does not destroy a socket with unread data',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        const finished = next(far, 'finish');
        far.end('unread');
        near.end();
        await finished;
        await next(near, 'readable');
        await turn();
        expect(near.destroyed).toBe(false);
        const closed = next(near, 'close');
        expect(String(near.read())).toBe('unread');
        near.read();
        await closed;
      },
    },
    {
      title: 'before the connection takes effect after it',
      run: async (_carrier, t) => {
        const server = await t.listening();
        const accepted = next<[Socket]>(server, 'connection');
        const near = t.connect(server);
        const seen = recorded(near, ['connect', 'ready', 'finish', 'end', 'close']);
        near.end();
        near.resume();
        (await accepted)[0].resume();
        await next(near, 'close');
        expect(seen).toEqual(['connect', 'ready', 'finish', 'end', 'close']);
      },
    },
    {
      title: 'by destroySoon waits for what was written',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        const arrived = readAll(far);
        const closed = next(near, 'close');
        near.write(Buffer.alloc(100_000));
        near.destroySoon();
        expect([near.writable, near.destroyed]).toEqual([false, false]);
        expect(await closed).toEqual([false]);
        expect(await arrived).toHaveLength(100_000);
        expect(near.writableFinished).toBe(true);
      },
    },
    {
      title: 'by destroySoon does not wait for the other end',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair({ server: { allowHalfOpen: true } });
        const seen = recorded(near, ['finish', 'end', 'error', 'close']);
        const closed = next(near, 'close');
        near.destroySoon();
        await closed;
        expect(seen).toEqual(['finish', 'close']);
        expect(far.writable).toBe(true);
      },
    },
    {
      title: 'by destroySoon destroys at once when it has finished already',
      run: async (_carrier, t) => {
        const { near } = await t.pair({ server: { allowHalfOpen: true } });
        const finished = next(near, 'finish');
        near.end('hello');
        await finished;
        near.destroySoon();
        expect(near.destroyed).toBe(true);
      },
    },
    {
      title: 'by destroySoon before the connection takes effect after it',
      run: async (_carrier, t) => {
        const server = await t.listening();
        const accepted = next<[Socket]>(server, 'connection');
        const near = t.connect(server);
        near.write('hello');
        near.destroySoon();
        expect(near.destroyed).toBe(false);
        expect(String(await readAll((await accepted)[0]))).toBe('hello');
      },
    },
  ],
};
