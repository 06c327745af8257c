// The events of a socket and their order.

import { once } from 'node:events';
import type { Socket } from 'node:net';
import { expect } from '@jest/globals';
import { turn } from '../../support/turns.js';
import { vacantPort } from '../carriers.js';
import { next, recorded, soon, type Topic } from '../trial.js';

const ALL = ['lookup', 'connect', 'ready', 'data', 'end', 'finish', 'prefinish', 'error', 'timeout', 'close'] as const;

export const EVENTS: Topic = {
  name: 'the events of a socket',
  cases: [
    {
      title: 'are connect, ready, data, end, finish and close when the other end ends first',
      run: async (_carrier, t) => {
        const server = await t.listening(t.server((socket) => socket.end('hello')));
        const near = t.connect(server);
        const seen = recorded(near, ['connect', 'ready', 'data', 'end', 'finish', 'error', 'timeout', 'close']);
        await next(near, 'close');
        expect(seen).toEqual(['connect', 'ready', 'data', 'end', 'finish', 'close']);
      },
    },
    {
      title: 'are connect, ready, finish, end and close when this end ends first',
      run: async (_carrier, t) => {
        const server = await t.listening(
          t.server({ allowHalfOpen: true }, (socket) => {
            socket.resume();
            socket.on('end', () => socket.end());
          }),
        );
        const near = t.connect(server);
        const seen = recorded(near, ['connect', 'ready', 'end', 'finish', 'error', 'close']);
        near.resume();
        near.end();
        await next(near, 'close');
        expect(seen).toEqual(['connect', 'ready', 'finish', 'end', 'close']);
      },
    },
    {
      title: 'have connect and ready one after the other in one tick',
      run: async (_carrier, t) => {
        const near = t.connect(await t.listening());
        const seen: string[] = [];
        near.on('connect', () => {
          seen.push('connect');
          process.nextTick(() => seen.push('tick'));
        });
        near.on('ready', () => seen.push('ready'));
        await next(near, 'ready');
        await turn();
        expect(seen).toEqual(['connect', 'ready', 'tick']);
      },
    },
    {
      title: 'leave time for promises, so that events awaited one after the other are not missed',
      run: async (_carrier, t) => {
        const server = await t.listening(
          t.server((socket) => {
            socket.write('one');
            socket.write('two');
            socket.end('three');
          }),
        );
        const near = t.connect(server);
        let text = '';
        let hasEnded = false;
        await once(near, 'connect');
        while (!hasEnded) {
          const read = once(near, 'data').then(([chunk]) => {
            text += String(chunk);
          });
          const end = once(near, 'end').then(() => {
            hasEnded = true;
          });
          await soon('data or the end', Promise.race([read, end]));
        }
        expect(text).toBe('onetwothree');
      },
    },
    {
      title: 'include data and end in separate ticks, with promises between them',
      run: async (_carrier, t) => {
        const server = await t.listening(t.server((socket) => socket.end('hello')));
        const near = t.connect(server);
        const seen: string[] = [];
        for (const name of ['connect', 'data', 'end']) {
          near.on(name, async () => {
            seen.push(name);
            process.nextTick(() => seen.push(`tick of ${name}`));
            for (let hop = 0; hop < 10; hop++) await undefined;
            seen.push(`promises of ${name}`);
          });
        }
        await next(near, 'close');
        const one = (name: string): string[] => [name, `tick of ${name}`, `promises of ${name}`];
        expect(seen).toEqual([...one('connect'), ...one('data'), ...one('end')]);
      },
    },
    {
      title: 'have no arguments, except close, which has hadError',
      run: async (_carrier, t) => {
        const server = await t.listening(t.server((socket) => socket.end()));
        const near = t.connect(server);
        const values: Record<string, unknown[]> = {};
        for (const name of ALL) near.on(name, (...given: unknown[]) => (values[name] = given));
        await next(near, 'close');
        expect(values).toMatchObject({ connect: [], ready: [], end: [], finish: [], close: [false] });
      },
    },
    {
      title: 'are error and then close with true after a destroy with an error',
      run: async (_carrier, t) => {
        const { near } = await t.pair();
        const seen = recorded(near, ALL);
        const reason = new Error('enough');
        const [error, closed] = [next(near, 'error'), next(near, 'close')];
        near.destroy(reason);
        expect(seen).toEqual([]);
        expect(await error).toEqual([reason]);
        expect(await closed).toEqual([true]);
        expect(seen).toEqual(['error', 'close']);
      },
    },
    {
      title: 'are close with false alone after a destroy without an error',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        const seen = recorded(near, ALL);
        const closed = next(near, 'close');
        near.destroy();
        expect(seen).toEqual([]);
        expect(await closed).toEqual([false]);
        await next(far.resume(), 'close');
        expect(seen).toEqual(['close']);
      },
    },
    {
      title: 'are end and close with false at the end whose other end was destroyed',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        const seen = recorded(far, ['end', 'error', 'close']);
        far.resume();
        const closed = next(far, 'close');
        near.destroy();
        expect(await closed).toEqual([false]);
        expect(seen).toEqual(['end', 'close']);
      },
    },
    {
      title: 'have close with the first error, however often the socket is destroyed',
      run: async (_carrier, t) => {
        const { near } = await t.pair();
        const errors: Error[] = [];
        near.on('error', (error) => errors.push(error));
        const closed = next(near, 'close');
        near.destroy(new Error('first')).destroy(new Error('second')).destroy();
        expect(await closed).toEqual([true]);
        await turn();
        expect(errors.map(({ message }) => message)).toEqual(['first']);
      },
    },
    {
      title: 'have close once',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        let closes = 0;
        near.on('close', () => closes++);
        near.end();
        far.end();
        near.resume();
        far.resume();
        await next(near, 'close');
        near.destroy();
        near.destroySoon();
        await turn();
        expect(closes).toBe(1);
      },
    },
    {
      title: 'have close a while after destroy, never in the same tick',
      run: async (_carrier, t) => {
        for (const socket of [t.socket(), (await t.pair()).near]) {
          let isClosed = false;
          socket.on('close', () => {
            isClosed = true;
          });
          const closed = next(socket, 'close');
          socket.destroy();
          expect(isClosed).toBe(false);
          await closed;
        }
      },
    },
    {
      title: 'have end only when everything has been read',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        let isEnded = false;
        far.on('end', () => {
          isEnded = true;
        });
        const finished = next(near, 'finish');
        near.end('hello');
        await Promise.all([next(far, 'readable'), finished]);
        await turn();
        expect(isEnded).toBe(false);
        const ended = next(far, 'end');
        far.resume();
        await ended;
      },
    },
    {
      title: 'have lookup ahead of connect when the host is a name',
      differs: 'the resolved address',
      run: async ({ clientNet, nameFor }, t) => {
        const server = await t.listening();
        const { port, host } = t.to(server);
        const name = nameFor(host);
        const near = t.keep(clientNet.connect(port, name));
        const seen = recorded(near, ['lookup', 'connect']);
        const values = next(near, 'lookup');
        await next(near, 'connect');
        const [error, address, , looked] = await values;
        expect([error, typeof address, looked]).toEqual([null, 'string', name]);
        expect(seen[0]).toBe('lookup');
        expect(seen.filter((event) => event === 'connect')).toHaveLength(1);
        expect(seen.at(-1)).toBe('connect');
      },
    },
    {
      title: 'have connectionAttempt ahead of connect',
      differs: 'the address and the family',
      run: async ({ portHost, clientNet, serverAddress, isOverlay }, t) => {
        const server = t.server();
        server.listen(0);
        await next(server, 'listening');
        const near = t.keep(clientNet.connect({ ...t.to(server), host: portHost }));
        const seen = recorded(near, ['connectionAttempt', 'connectionAttemptFailed', 'connect', 'ready']);
        const tried = next(near, 'connectionAttempt');
        await next(near, 'ready');
        const [address, port] = await tried;
        expect(port).toBe(t.to(server).port);
        expect(typeof address).toBe('string');
        if (!isOverlay) expect(address).toBe(serverAddress);
        expect(seen).toEqual(['connectionAttempt', 'connect', 'ready']);
      },
    },
    {
      title: 'are connectionAttempt, connectionAttemptFailed, error and close when it is refused',
      run: async ({ clientNet }, t) => {
        const near = t.keep(clientNet.connect(await vacantPort(clientNet), '127.0.0.1'));
        const seen = recorded(near, [
          'connectionAttempt',
          'connectionAttemptFailed',
          'connect',
          'ready',
          'end',
          'finish',
          'error',
          'close',
        ]);
        expect(await next(near, 'close')).toEqual([true]);
        expect(seen).toEqual(['connectionAttempt', 'connectionAttemptFailed', 'error', 'close']);
      },
    },
    {
      title: 'reach a listener for data that is added late with everything from the beginning',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        near.write('one');
        await next(far, 'readable');
        near.end('two');
        let text = '';
        far.removeAllListeners('readable');
        far.on('data', (chunk) => {
          text += chunk;
        });
        far.resume();
        await next(far, 'end');
        expect(text).toBe('onetwo');
      },
    },
    {
      title: 'have drain once the buffer is empty, after write has returned false',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair({ server: { pauseOnConnect: true } });
        const drained = next(near, 'drain');
        let writes = 0;
        while (writes < 2000 && near.write(Buffer.alloc(0x1_0000))) writes++;
        expect([writes < 2000, near.writableNeedDrain]).toEqual([true, true]);
        far.resume();
        await drained;
        expect([near.writableLength, near.writableNeedDrain]).toEqual([0, false]);
      },
    },
    {
      title: 'are the same at both ends of many sockets',
      run: async (_carrier, t) => {
        const server = await t.listening();
        const closes: Array<Promise<unknown[]>> = [];
        server.on('connection', (socket: Socket) => {
          closes.push(next(socket, 'close'));
          socket.end('bye');
          socket.resume();
        });
        const nears = Array.from({ length: 20 }, () => t.connect(server).resume());
        const nearCloses = await Promise.all(nears.map((near) => next(near, 'close')));
        const farCloses = await Promise.all(closes);
        expect([...nearCloses, ...farCloses]).toEqual(Array.from({ length: 40 }, () => [false]));
      },
    },
  ],
};
