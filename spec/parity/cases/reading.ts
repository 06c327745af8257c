// Reading: flowing and paused, decoded, iterated, piped.

import type { Socket } from 'node:net';
import { finished, PassThrough, pipeline } from 'node:stream';
import { pipeline as piped, finished as whenFinished } from 'node:stream/promises';
import { expect } from '@jest/globals';
import { turn } from '../../support/turns.js';
import { called, next, readAll, readBytes, recorded, soon, type Topic } from '../trial.js';

export const READING: Topic = {
  name: 'reading',
  cases: [
    {
      title: 'gives buffers, unless an encoding is set',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        near.write('hello');
        const [chunk] = await next(far, 'data');
        expect(Buffer.isBuffer(chunk)).toBe(true);
      },
    },
    {
      title: 'gives whole characters with setEncoding, wherever chunks split them',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        expect(far.setEncoding('utf8')).toBe(far);
        const chunks: unknown[] = [];
        far.on('data', (chunk) => chunks.push(chunk));
        const bytes = Buffer.from('€€');
        const arrived = next(far, 'data');
        near.write(bytes.subarray(0, 4));
        await arrived;
        near.end(bytes.subarray(4));
        await next(far, 'end');
        expect(chunks).toEqual(['€', '€']);
        expect(far.readableEncoding).toBe('utf8');
      },
    },
    {
      title: 'gives hex and base64 with setEncoding',
      run: async (_carrier, t) => {
        for (const [encoding, text] of [
          ['hex', '68656c6c6f'],
          ['base64', 'aGVsbG8='],
        ] as const) {
          const { near, far } = await t.pair();
          far.setEncoding(encoding);
          let read = '';
          far.on('data', (chunk) => {
            read += chunk;
          });
          near.end('hello');
          await next(far, 'end');
          expect(read).toBe(text);
        }
      },
    },
    {
      title: 'stops with pause and goes on with resume',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        let text = '';
        far.on('data', (chunk) => {
          text += chunk;
        });
        expect(far.pause()).toBe(far);
        expect(far.isPaused()).toBe(true);
        near.end('hello');
        await next(near, 'finish');
        await turn();
        expect(text).toBe('');
        const ended = next(far, 'end');
        expect(far.resume()).toBe(far);
        expect(far.isPaused()).toBe(false);
        await ended;
        expect(text).toBe('hello');
      },
    },
    {
      title: 'stops with pause in the listener for data',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        const arrived: Buffer[] = [];
        const first = next(far, 'data');
        far.on('data', (chunk: Buffer) => {
          arrived.push(chunk);
          far.pause();
        });
        near.write(Buffer.alloc(200_000));
        await first;
        await turn();
        expect(arrived).toHaveLength(1);
        far.removeAllListeners('data');
        const rest = readBytes(far, 200_000 - arrived[0].length);
        far.resume();
        expect((await rest).length + arrived[0].length).toBe(200_000);
      },
    },
    {
      title: 'can be paused before the connection',
      run: async (_carrier, t) => {
        const server = await t.listening(t.server((socket) => socket.end('hello')));
        const near = t.connect(server);
        near.pause();
        let text = '';
        near.on('data', (chunk) => {
          text += chunk;
        });
        await next(near, 'ready');
        await turn();
        expect(text).toBe('');
        const ended = next(near, 'end');
        near.resume();
        await ended;
        expect(text).toBe('hello');
      },
    },
    {
      title: 'has read nothing when it was paused before the connection',
      run: async (_carrier, t) => {
        const server = await t.listening(t.server((socket) => socket.end('hello')));
        const near = t.connect(server);
        near.pause();
        await next(near, 'ready');
        await readAll(t.connect(server));
        const seen = recorded(near, ['data', 'end']);
        await turn();
        expect([seen, near.bytesRead, near.readableLength]).toEqual([[], 0, 0]);
        expect([String(await readAll(near.resume())), near.bytesRead]).toEqual(['hello', 5]);
      },
    },
    {
      title: 'has begun when it was paused again before the connection',
      run: async (_carrier, t) => {
        const server = await t.listening(t.server((socket) => socket.write('hello')));
        const near = t.connect(server);
        near.resume();
        process.nextTick(() => process.nextTick(() => near.pause()));
        await next(near, 'readable');
        expect([near.bytesRead, near.readableLength]).toEqual([5, 5]);
      },
    },
    {
      title: 'begins with a listener for readable before the connection',
      run: async (_carrier, t) => {
        const server = await t.listening(t.server((socket) => socket.end('hello')));
        const near = t.connect(server);
        await next(near, 'readable');
        expect([String(near.read()), near.bytesRead]).toEqual(['hello', 5]);
      },
    },
    {
      title: 'keeps everything from before the first listener',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        near.end('hello');
        await next(near, 'finish');
        await turn();
        expect(String(await readAll(far))).toBe('hello');
      },
    },
    {
      title: 'returns as many bytes as read asks for',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        near.write('hello world');
        while (far.readableLength < 11) await next(far, 'readable');
        expect(String(far.read(5))).toBe('hello');
        expect(far.readableLength).toBe(6);
        expect(far.read(7)).toBeNull();
        expect(String(far.read(1))).toBe(' ');
        expect(String(far.read())).toBe('world');
        expect(far.read()).toBeNull();
      },
    },
    {
      title: 'returns what is left from read(n) at the end',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        const parts: string[] = [];
        far.on('readable', () => {
          for (let part: Buffer | null = far.read(4); part !== null; part = far.read(4)) parts.push(String(part));
        });
        near.end('hello world');
        await next(far, 'end');
        expect(parts).toEqual(['hell', 'o wo', 'rld']);
      },
    },
    {
      title: 'returns what unshift has put back',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        near.end('world');
        await next(far, 'readable');
        const chunk = far.read() as Buffer;
        far.unshift(Buffer.concat([Buffer.from('hello '), chunk]));
        far.removeAllListeners('readable');
        expect(String(await readAll(far))).toBe('hello world');
      },
    },
    {
      title: 'by iteration gives everything and destroys the socket at the end',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        near.write('hello ');
        near.end('world');
        let text = '';
        for await (const chunk of far) text += chunk;
        expect([text, far.destroyed]).toEqual(['hello world', true]);
      },
    },
    {
      title: 'by iteration destroys the socket when the loop is left',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        near.write('hello');
        near.resume();
        const closed = next(near, 'close');
        for await (const chunk of far) {
          expect(String(chunk)).toBe('hello');
          break;
        }
        expect(far.destroyed).toBe(true);
        await closed;
      },
    },
    {
      title: 'by iteration throws the error of the socket',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        const reading = (async () => {
          for await (const chunk of far) {
            if (String(chunk) === 'hello') near.resetAndDestroy();
          }
        })();
        near.write('hello');
        await expect(soon('the iteration', reading)).rejects.toMatchObject({ code: 'ECONNRESET' });
      },
    },
    {
      title: 'by iteration of a socket before its connection works',
      run: async (_carrier, t) => {
        const server = await t.listening(t.server((socket) => socket.end('hello')));
        let text = '';
        for await (const chunk of t.connect(server)) text += chunk;
        expect(text).toBe('hello');
      },
    },
    {
      title: 'by pipe goes to another socket and ends that',
      run: async (_carrier, t) => {
        const first = await t.pair();
        const second = await t.pair();
        expect(first.far.pipe(second.near)).toBe(second.near);
        const arrived = readAll(second.far);
        first.near.end(Buffer.alloc(500_000, 'p'));
        expect(await arrived).toHaveLength(500_000);
      },
    },
    {
      title: 'by pipe with end: false leaves the other open',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        const sink = new PassThrough();
        far.pipe(sink, { end: false });
        near.end('hello');
        await next(far, 'end');
        expect([String(sink.read()), sink.writableEnded]).toEqual(['hello', false]);
      },
    },
    {
      title: 'by pipeline carries everything through and is done when the other end is',
      run: async (_carrier, t) => {
        const server = await t.listening();
        const accepted = next<[Socket]>(server, 'connection');
        const near = t.connect(server);
        const source = new PassThrough();
        const done = piped(source, near);
        source.write('hello ');
        source.end('pipeline');
        const [far] = await accepted;
        expect(String(await readAll(far))).toBe('hello pipeline');
        near.resume();
        await soon('the pipeline', done);
      },
    },
    {
      title: 'by pipeline fails when the socket is reset',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        const sink = new PassThrough();
        const failed = called((done) => pipeline(far, sink, (error) => done(error)));
        near.resetAndDestroy();
        await expect(failed).rejects.toMatchObject({ code: 'ECONNRESET' });
        expect(sink.destroyed).toBe(true);
      },
    },
    {
      title: 'completes finished when both directions have ended',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        const both = Promise.all([whenFinished(near), whenFinished(far)]);
        near.resume();
        far.resume();
        near.end('hello');
        await soon('both ends', both);
      },
    },
    {
      title: 'fails finished with a premature close when the socket is destroyed',
      run: async (_carrier, t) => {
        const { near } = await t.pair();
        const over = called((done) => finished(near, done));
        near.destroy();
        await expect(over).rejects.toMatchObject({
          code: 'ERR_STREAM_PREMATURE_CLOSE',
          message: 'Premature close',
        });
      },
    },
    {
      title: 'emits no chunk larger than what was sent, and no empty one',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        const sizes: number[] = [];
        far.on('data', (chunk: Buffer) => sizes.push(chunk.length));
        near.write('');
        near.write(Buffer.alloc(70_000));
        near.end();
        await next(far, 'end');
        expect(Math.min(...sizes)).toBeGreaterThan(0);
        expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(70_000);
      },
    },
  ],
};
