// AsyncLocalStorage: a listener runs in the context of the call that caused its event.

import { AsyncLocalStorage } from 'node:async_hooks';
import { expect } from '@jest/globals';
import { vacantPort } from '../carriers.js';
import { next, portOf, readBytes, soon, type Topic } from '../trial.js';

export const CONTEXTS: Topic = {
  name: 'the context',
  cases: [
    {
      title: 'of listen is that of listening, connection and drop',
      run: async ({ listenAt, clientNet }, t) => {
        const store = new AsyncLocalStorage<string>();
        const seen: unknown[] = [];
        const server = t.server();
        server.maxConnections = 1;
        for (const name of ['listening', 'connection', 'drop'])
          server.on(name, () => seen.push(name, store.getStore()));
        const { host } = listenAt();
        const up = next(server, 'listening');
        store.run('listen', () => server.listen(0, host));
        await up;
        for (const name of ['connection', 'drop']) {
          const emitted = next(server, name);
          store.run('connect', () => t.keep(clientNet.connect(portOf(server), host)));
          await emitted;
        }
        expect(seen).toEqual(['listening', 'listen', 'connection', 'listen', 'drop', 'listen']);
      },
    },
    {
      title: 'of connect is that of connect, ready, data, end and close',
      run: async (_carrier, t) => {
        const server = await t.listening(t.server((socket) => socket.end('hello')));
        const store = new AsyncLocalStorage<string>();
        const seen: Record<string, unknown> = {};
        const near = store.run('connect', () =>
          t.connect(server, {}, () => {
            seen['callback'] = store.getStore();
          }),
        );
        for (const name of ['connect', 'ready', 'data', 'end', 'close']) {
          near.on(name, () => {
            seen[name] = store.getStore();
          });
        }
        await next(near, 'close');
        const context = 'connect';
        expect(seen).toEqual({
          callback: context,
          connect: context,
          ready: context,
          data: context,
          end: context,
          close: context,
        });
      },
    },
    {
      title: 'of connect is that of data much later, whichever end writes',
      run: async (_carrier, t) => {
        const server = await t.listening();
        const store = new AsyncLocalStorage<string>();
        const accepted = next<[NodeJS.WritableStream]>(server, 'connection');
        const near = store.run('connect', () => t.connect(server));
        const [[far]] = await Promise.all([accepted, next(near, 'ready')]);
        const seen: unknown[] = [];
        near.on('data', () => seen.push(store.getStore()));
        for (const word of ['one', 'two']) {
          const arrived = next(near, 'data');
          store.run('elsewhere', () => far.write(word));
          await arrived;
        }
        expect(seen).toEqual(['connect', 'connect']);
      },
    },
    {
      title: 'of connect is that of error and close when it is refused',
      run: async ({ clientNet }, t) => {
        const port = await vacantPort(clientNet);
        const store = new AsyncLocalStorage<string>();
        const seen: unknown[] = [];
        const near = store.run('connect', () => t.keep(clientNet.connect(port, '127.0.0.1')));
        near.on('error', () => seen.push(store.getStore()));
        near.on('close', () => seen.push(store.getStore()));
        await next(near, 'close');
        expect(seen).toEqual(['connect', 'connect']);
      },
    },
    {
      title: 'of one socket is not that of another to the same server',
      run: async (_carrier, t) => {
        const server = await t.listening(t.server((socket) => socket.pipe(socket)));
        const store = new AsyncLocalStorage<number>();
        const seen: Array<[number, unknown]> = [];
        const sockets = [0, 1, 2, 3, 4].map((number) =>
          store.run(number, () => {
            const near = t.connect(server);
            near.on('data', () => seen.push([number, store.getStore()]));
            return near;
          }),
        );
        const arrived = Promise.all(sockets.map((near) => readBytes(near, 5)));
        for (const near of sockets) near.write('hello');
        await arrived;
        expect(seen.sort(([one], [other]) => one - other)).toEqual([
          [0, 0],
          [1, 1],
          [2, 2],
          [3, 3],
          [4, 4],
        ]);
      },
    },
    {
      title: 'of write is that of its callback',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        far.resume();
        const store = new AsyncLocalStorage<string>();
        const write = (context: string, chunk: Buffer): Promise<unknown> =>
          soon(
            'the callback',
            new Promise((resolve) => {
              store.run(context, () => near.write(chunk, () => resolve(store.getStore())));
            }),
          );
        expect(await write('small', Buffer.from('x'))).toBe('small');
        expect(await write('large', Buffer.alloc(8_000_000))).toBe('large');
      },
    },
    {
      title: 'of setTimeout is that of timeout',
      run: async (_carrier, t) => {
        const { near } = await t.pair();
        const store = new AsyncLocalStorage<string>();
        const context = soon(
          'the timeout',
          new Promise((resolve) => {
            near.on('timeout', () => resolve(store.getStore()));
          }),
        );
        store.run('timeout', () => near.setTimeout(2));
        expect(await context).toBe('timeout');
      },
    },
    {
      title: 'of destroy is that of its error',
      run: async (_carrier, t) => {
        const { near } = await t.pair();
        const store = new AsyncLocalStorage<string>();
        const context = soon(
          'the error',
          new Promise((resolve) => {
            near.on('error', () => resolve(store.getStore()));
          }),
        );
        store.run('destroy', () => near.destroy(new Error('enough')));
        expect(await context).toBe('destroy');
      },
    },
  ],
};
