// The options of new Socket and of connect: signal, onread, high-water marks, rejected values.

import type { OnReadOpts, Socket } from 'node:net';
import { expect } from '@jest/globals';
import { turn } from '../../support/turns.js';
import { next, readAll, recorded, soon, type Topic, thrownBy } from '../trial.js';

const ABORTED = { name: 'AbortError', code: 'ABORT_ERR', message: 'The operation was aborted' };

/** Gathers what arrives by onread, and says when it is so many bytes. */
function gathering(buffer: OnReadOpts['buffer'], count: number): { onread: OnReadOpts; all: Promise<Buffer> } {
  const parts: Buffer[] = [];
  let bytes = 0;
  let onread: OnReadOpts | undefined;
  const all = new Promise<Buffer>((resolve) => {
    onread = {
      buffer,
      callback: (size, filled) => {
        parts.push(Buffer.from(filled.subarray(0, size)));
        bytes += size;
        if (bytes >= count) resolve(Buffer.concat(parts));
        return true;
      },
    };
  });
  return { onread: onread as OnReadOpts, all: soon('what is read', all) };
}

export const OPTIONS: Topic = {
  name: 'an option',
  cases: [
    {
      title: 'signal destroys a connected socket with an AbortError',
      run: async (_carrier, t) => {
        const control = new AbortController();
        const { near, far } = await t.pair({ client: { signal: control.signal } });
        const [failed, closed] = [next(near, 'error'), next(near, 'close')];
        control.abort(new Error('had enough'));
        expect(near.destroyed).toBe(true);
        const [error] = await failed;
        expect(error).toMatchObject(ABORTED);
        expect(error).toMatchObject({ cause: { message: 'had enough' } });
        expect(await closed).toEqual([true]);
        await next(far.resume(), 'close');
      },
    },
    {
      title: 'signal destroys a connecting socket',
      run: async (_carrier, t) => {
        const control = new AbortController();
        const near = t.connect(await t.listening(), { signal: control.signal });
        const seen = recorded(near, ['connect', 'ready', 'error', 'close']);
        const failed = next(near, 'error');
        const closed = next(near, 'close');
        control.abort();
        expect((await failed)[0]).toMatchObject(ABORTED);
        await closed;
        expect(seen).toEqual(['error', 'close']);
      },
    },
    {
      title: 'signal that was aborted before is an AbortError at once',
      run: async (_carrier, t) => {
        const near = t.connect(await t.listening(), { signal: AbortSignal.abort() });
        const seen = recorded(near, ['connect', 'ready', 'error', 'close']);
        const [failed, closed] = [next(near, 'error'), next(near, 'close')];
        expect((await failed)[0]).toMatchObject(ABORTED);
        await closed;
        // Node goes on connecting after that, which is nothing to be like.
        expect(seen.slice(0, 2)).toEqual(['error', 'close']);
      },
    },
    {
      title: 'signal of new Socket destroys it',
      run: async (_carrier, t) => {
        const control = new AbortController();
        const socket = t.socket({ signal: control.signal });
        const failed = next(socket, 'error');
        control.abort();
        expect((await failed)[0]).toMatchObject(ABORTED);
        expect(socket.destroyed).toBe(true);
      },
    },
    {
      title: 'signal has no effect after the end',
      run: async (_carrier, t) => {
        const control = new AbortController();
        const { near } = await t.pair({ client: { signal: control.signal } });
        const seen = recorded(near, ['error', 'close']);
        const closed = next(near, 'close');
        near.destroy();
        await closed;
        control.abort();
        await turn();
        expect(seen).toEqual(['close']);
      },
    },
    {
      title: 'signal of the wrong type throws ERR_INVALID_ARG_TYPE',
      run: ({ clientNet }) => {
        const signal = 'x' as unknown as AbortSignal;
        expect(thrownBy(() => new clientNet.Socket({ signal }))).toMatchObject({
          name: 'TypeError',
          code: 'ERR_INVALID_ARG_TYPE',
        });
      },
    },
    {
      title: 'onread fills the given buffer',
      run: async (_carrier, t) => {
        const buffer = Buffer.alloc(16);
        const seen = new Set<unknown>();
        const { onread, all } = gathering(buffer, 100);
        const { callback } = onread;
        onread.callback = (size, filled) => {
          seen.add(filled);
          expect(size).toBeLessThanOrEqual(16);
          return callback(size, filled);
        };
        const { near, far } = await t.pair({ client: { onread } });
        const text = Array.from({ length: 100 }, (_, index) => String(index % 10)).join('');
        far.write(text);
        expect(String(await all)).toBe(text);
        expect([...seen]).toEqual([buffer]);
        expect(near.bytesRead).toBe(100);
      },
    },
    {
      title: 'onread calls a function for each buffer',
      run: async (_carrier, t) => {
        let calls = 0;
        const { onread, all } = gathering(() => {
          calls++;
          return new Uint8Array(10);
        }, 30);
        const { far } = await t.pair({ client: { onread } });
        far.write('a'.repeat(30));
        expect(String(await all)).toBe('a'.repeat(30));
        expect(calls).toBeGreaterThanOrEqual(3);
      },
    },
    {
      title: 'onread emits no data, but end and close',
      run: async (_carrier, t) => {
        const { onread, all } = gathering(Buffer.alloc(8), 5);
        const { near, far } = await t.pair({ client: { onread } });
        const seen = recorded(near, ['data', 'end', 'finish', 'close']);
        const closed = next(near, 'close');
        near.resume();
        far.end('hello');
        expect(String(await all)).toBe('hello');
        await closed;
        expect(seen).toEqual(['end', 'finish', 'close']);
      },
    },
    {
      title: 'onread pauses until resume when its callback returns false',
      run: async (_carrier, t) => {
        const parts: string[] = [];
        let wake: (() => void) | undefined;
        const received = (): Promise<void> =>
          soon(
            'a part',
            new Promise((resolve) => {
              wake = resolve;
            }),
          );
        const onread: OnReadOpts = {
          buffer: Buffer.alloc(4),
          callback: (size, filled) => {
            parts.push(Buffer.from(filled.subarray(0, size)).toString());
            wake?.();
            return false;
          },
        };
        const { near, far } = await t.pair({ client: { onread } });
        const first = received();
        far.write('onetwo!!');
        await first;
        await turn();
        expect(parts).toHaveLength(1);
        while (parts.join('').length < 8) {
          const more = received();
          near.resume();
          await more;
        }
        expect(parts.join('')).toBe('onetwo!!');
      },
    },
    {
      title: 'onread stops on pause and continues on resume',
      run: async (_carrier, t) => {
        const { onread, all } = gathering(Buffer.alloc(64), 5);
        let calls = 0;
        const { callback } = onread;
        onread.callback = (size, filled) => {
          calls++;
          return callback(size, filled);
        };
        const { near, far } = await t.pair({ client: { onread } });
        near.pause();
        await new Promise<void>((resolve) => far.write('hello', () => resolve()));
        // What goes the other way and back has passed by what is held up.
        await t.ends(await t.listening());
        await turn();
        expect(calls).toBe(0);
        near.resume();
        expect(String(await all)).toBe('hello');
      },
    },
    {
      title: 'onread stops on pause before the connection, and nothing counts as read',
      run: async (_carrier, t) => {
        const { onread, all } = gathering(Buffer.alloc(2), 5);
        const server = await t.listening(t.server((socket) => socket.end('hello')));
        const near = t.connect(server, { onread });
        near.pause();
        const seen = recorded(near, ['end']);
        await next(near, 'ready');
        await readAll(t.connect(server));
        await turn();
        expect([seen, near.bytesRead]).toEqual([[], 0]);
        const ended = next(near, 'end');
        near.resume();
        expect([String(await all), near.bytesRead]).toEqual(['hello', 5]);
        await ended;
      },
    },
    {
      title: 'onread that is paused delays end as well',
      run: async (_carrier, t) => {
        const seen: string[] = [];
        let wake: (() => void) | undefined;
        const first = new Promise<void>((resolve) => {
          wake = resolve;
        });
        const onread: OnReadOpts = {
          buffer: Buffer.alloc(4),
          callback: (size, filled) => {
            seen.push(Buffer.from(filled.subarray(0, size)).toString());
            wake?.();
            return false;
          },
        };
        const { near, far } = await t.pair({ client: { onread } });
        let isEnded = false;
        near.on('end', () => {
          isEnded = true;
        });
        const ended = next(near, 'end');
        const finished = next(far, 'finish');
        far.end('onetwo!!');
        await soon('the first part', first);
        await finished;
        await turn();
        expect([seen.length, isEnded]).toEqual([1, false]);
        while (!isEnded) {
          near.resume();
          await turn();
        }
        await ended;
        expect(seen.join('')).toBe('onetwo!!');
      },
    },
    {
      title: 'highWaterMark applies to both directions, or to one',
      run: (_carrier, t) => {
        const both = t.socket({ highWaterMark: 100 });
        expect([both.readableHighWaterMark, both.writableHighWaterMark]).toEqual([100, 100]);
        const each = t.socket({ readableHighWaterMark: 10, writableHighWaterMark: 20 });
        expect([each.readableHighWaterMark, each.writableHighWaterMark]).toEqual([10, 20]);
      },
    },
    {
      title: 'allowHalfOpen keeps the writing half open',
      run: async (_carrier, t) => {
        expect(t.socket({ allowHalfOpen: true }).allowHalfOpen).toBe(true);
        const server = await t.listening(t.server({ allowHalfOpen: true }, (socket) => socket.end('hello')));
        const near = t.connect(server, { allowHalfOpen: true });
        const accepted = next<[Socket]>(server, 'connection');
        await readAll(near);
        const [far] = await accepted;
        const arrived = readAll(far);
        near.end('late');
        expect(String(await arrived)).toBe('late');
      },
    },
    {
      title: 'objectMode throws ERR_INVALID_ARG_VALUE',
      run: ({ clientNet: { Socket: SocketOf } }) => {
        for (const name of ['objectMode', 'readableObjectMode', 'writableObjectMode']) {
          expect(thrownBy(() => new SocketOf({ [name]: true } as object))).toMatchObject({
            name: 'TypeError',
            code: 'ERR_INVALID_ARG_VALUE',
            message: `The property 'options.${name}' is not supported. Received true`,
          });
        }
      },
    },
    {
      title: 'keepAliveInitialDelay of the wrong type throws ERR_INVALID_ARG_TYPE',
      run: ({ clientNet: { Socket: SocketOf } }) => {
        expect(thrownBy(() => new SocketOf({ keepAliveInitialDelay: 'x' } as object))).toMatchObject({
          name: 'TypeError',
          code: 'ERR_INVALID_ARG_TYPE',
          message: 'The "options.keepAliveInitialDelay" property must be of type number. Received type string (\'x\')',
        });
      },
    },
    {
      title: 'that is unknown is ignored',
      run: async (_carrier, t) => {
        const { near } = await t.pair({ client: { colour: 'green' } as object });
        expect(near.readyState).toBe('open');
      },
    },
  ],
};
