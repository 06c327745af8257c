// The properties of a socket, from the beginning to the end.

import type { Socket } from 'node:net';
import { expect } from '@jest/globals';
import { called, next, portOf, recorded, type Topic } from '../trial.js';

function stateOf(socket: Socket): unknown[] {
  return [socket.readyState, socket.pending, socket.connecting, socket.destroyed];
}

const NO_ADDRESSES = {
  address: {},
  localAddress: undefined,
  localPort: undefined,
  localFamily: undefined,
  remoteAddress: undefined,
  remotePort: undefined,
  remoteFamily: undefined,
};

function addressesOf(socket: Socket): object {
  const { localAddress, localPort, localFamily, remoteAddress, remotePort, remoteFamily } = socket;
  const address = socket.address();
  return { address, localAddress, localPort, localFamily, remoteAddress, remotePort, remoteFamily };
}

export const STATES: Topic = {
  name: 'the state of a socket',
  cases: [
    {
      title: 'is open and pending at first, with nothing counted',
      run: (_carrier, t) => {
        const socket = t.socket();
        expect(stateOf(socket)).toEqual(['open', true, false, false]);
        expect([socket.closed, socket.readable, socket.writable]).toEqual([false, true, true]);
        expect([socket.bytesRead, socket.bytesWritten, socket.writableLength]).toEqual([0, 0, 0]);
        expect([socket.bufferSize, socket.timeout]).toEqual([undefined, undefined]);
        expect(socket.allowHalfOpen).toBe(false);
      },
    },
    {
      title: 'is opening from connect on',
      run: async (_carrier, t) => {
        const server = await t.listening();
        const near = t.connect(server);
        expect(stateOf(near)).toEqual(['opening', true, true, false]);
        await next(near, 'connect');
      },
    },
    {
      title: 'has the legacy properties that libraries read',
      run: async (_carrier, t) => {
        const server = await t.listening();
        const accepted = next(server, 'connection');
        const near = t.connect(server) as Socket & { _connecting: boolean; _bytesDispatched: number };
        const written = called((done) => near.write('héllo', done));
        expect([near._connecting, near._bytesDispatched]).toEqual([true, 0]);
        await written;
        expect([near._connecting, near._bytesDispatched]).toEqual([false, 6]);
        near.cork();
        near.write('more');
        expect([near._bytesDispatched, near.bytesWritten]).toEqual([6, 10]);
        near.uncork();
        expect(near._bytesDispatched).toBe(10);
        await accepted;
      },
    },
    {
      title: 'is open in the listeners for connect and ready',
      run: async (_carrier, t) => {
        const server = await t.listening();
        const seen: unknown[] = [];
        const near = t.connect(server, {}, () => seen.push(stateOf(near)));
        near.on('ready', () => seen.push(stateOf(near)));
        await next(near, 'ready');
        expect(seen).toEqual([
          ['open', false, false, false],
          ['open', false, false, false],
        ]);
      },
    },
    {
      title: 'is readOnly at once after end, and closed when the other end has ended too',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair({ server: { allowHalfOpen: true } });
        near.end();
        expect(stateOf(near)).toEqual(['readOnly', false, false, false]);
        expect([near.writable, near.writableEnded, near.readable]).toEqual([false, true, true]);
        const closed = next(near, 'close');
        near.resume();
        far.end();
        await closed;
        expect(stateOf(near)).toEqual(['closed', true, false, true]);
      },
    },
    {
      title: 'is writeOnly in the listener for end',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        const seen: unknown[] = [];
        far.on('end', () => seen.push(stateOf(far), far.readableEnded, far.writableEnded));
        far.resume();
        const closed = next(far, 'close');
        near.end();
        near.resume();
        await closed;
        expect(seen).toEqual([['writeOnly', false, false, false], true, false]);
      },
    },
    {
      title: 'is opening and readable no matter what is written and ended before the connection',
      run: async (_carrier, t) => {
        const server = await t.listening(t.server({ allowHalfOpen: true }));
        const accepted = next<[Socket]>(server, 'connection');
        const near = t.connect(server);
        near.end('hello');
        expect([near.readyState, near.writable, near.writableFinished]).toEqual(['opening', false, false]);
        await next(near, 'ready');
        expect(near.readyState).toBe('readOnly');
        (await accepted)[0].end();
      },
    },
    {
      title: 'is closed and pending at once after destroy',
      run: async (_carrier, t) => {
        const { near } = await t.pair();
        const closed = next(near, 'close');
        expect(near.destroy()).toBe(near);
        expect(stateOf(near)).toEqual(['closed', true, false, true]);
        expect([near.readable, near.writable]).toEqual([false, false]);
        await closed;
        expect(stateOf(near)).toEqual(['closed', true, false, true]);
        expect(near.closed).toBe(true);
      },
    },
    {
      title: 'is closed and no longer connecting after a destroy before the connection',
      run: async (_carrier, t) => {
        const near = t.connect(await t.listening());
        const seen = recorded(near, ['connect', 'ready', 'error', 'end']);
        const closed = next(near, 'close');
        near.destroy();
        expect(stateOf(near)).toEqual(['closed', true, false, true]);
        expect(await closed).toEqual([false]);
        expect(seen).toEqual([]);
      },
    },
    {
      title: 'is closed in the listeners for error and close',
      run: async (_carrier, t) => {
        const { near } = await t.pair();
        const seen: unknown[] = [];
        near.on('error', () => seen.push('error', stateOf(near)));
        near.on('close', () => seen.push('close', stateOf(near)));
        const closed = next(near, 'close');
        near.destroy(new Error('enough'));
        await closed;
        const state = ['closed', true, false, true];
        expect(seen).toEqual(['error', state, 'close', state]);
      },
    },
    {
      title: 'has readable and writable of either end as the streams have them',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        expect([near.readable, near.writable, far.readable, far.writable]).toEqual([true, true, true, true]);
        expect([near.readableEnded, near.writableEnded, near.writableFinished]).toEqual([false, false, false]);
      },
    },
    {
      title: 'has no addresses before the connection',
      run: async (_carrier, t) => {
        expect(addressesOf(t.socket())).toEqual(NO_ADDRESSES);
        const near = t.connect(await t.listening());
        expect(addressesOf(near)).toMatchObject({
          remoteAddress: undefined,
          remotePort: undefined,
          remoteFamily: undefined,
        });
        await next(near, 'connect');
      },
    },
    {
      title: 'has the addresses of both ends in the listener for connect already',
      differs: 'the kind of addresses',
      run: async ({ family, clientAddress, serverAddress }, t) => {
        const server = await t.listening();
        let seen: object = {};
        const near = t.connect(server, {}, () => {
          seen = addressesOf(near);
        });
        await next(near, 'ready');
        const localPort = expect.any(Number) as unknown as number;
        expect(seen).toMatchObject({
          address: { address: clientAddress, family, port: localPort },
          localAddress: clientAddress,
          localFamily: family,
          localPort,
          remoteAddress: serverAddress,
          remoteFamily: family,
          remotePort: portOf(server),
        });
      },
    },
    {
      title: 'has mirrored addresses at both ends',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        const ends = ({ remoteAddress, remotePort, remoteFamily }: Socket): unknown[] => [
          remoteAddress,
          remotePort,
          remoteFamily,
        ];
        expect([far.localAddress, far.localPort, far.localFamily]).toEqual(ends(near));
        expect([near.localAddress, near.localPort, near.localFamily]).toEqual(ends(far));
        expect(near.address()).toEqual({ address: near.localAddress, port: near.localPort, family: near.localFamily });
        expect(far.address()).toEqual({ address: far.localAddress, port: far.localPort, family: far.localFamily });
      },
    },
    {
      title: 'keeps its addresses when the other end has ended',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair({ server: { allowHalfOpen: true } });
        const before = addressesOf(far);
        const ended = next(far, 'end');
        far.resume();
        near.end();
        await ended;
        expect(addressesOf(far)).toEqual(before);
      },
    },
    {
      title: 'has no local address after destroy',
      run: async (_carrier, t) => {
        const { near } = await t.pair();
        const closed = next(near, 'close');
        near.destroy();
        expect([near.address(), near.localAddress, near.localPort, near.localFamily]).toEqual([
          {},
          undefined,
          undefined,
          undefined,
        ]);
        await closed;
        expect(near.address()).toEqual({});
      },
    },
    {
      title: 'keeps the remote address after destroy when it was read before',
      run: async (_carrier, t) => {
        const { near } = await t.pair();
        const before = [near.remoteAddress, near.remotePort, near.remoteFamily];
        const closed = next(near, 'close');
        near.destroy();
        expect([near.remoteAddress, near.remotePort, near.remoteFamily]).toEqual(before);
        await closed;
        expect([near.remoteAddress, near.remotePort, near.remoteFamily]).toEqual(before);
      },
    },
    {
      title: 'has the requested local port',
      run: async ({ clientNet }, t) => {
        const spare = t.keepServer(clientNet.createServer());
        spare.listen(0);
        const localPort = portOf(spare);
        await next(spare, 'listening');
        const closed = next(spare, 'close');
        spare.close();
        await closed;
        const { near, far } = await t.pair({ client: { localPort } });
        expect([near.localPort, far.remotePort]).toEqual([localPort, localPort]);
      },
    },
    {
      title: 'cannot be set',
      run: async (_carrier, t) => {
        const { near } = await t.pair();
        for (const name of [
          'readyState',
          'pending',
          'bytesRead',
          'remoteAddress',
          'remotePort',
          'localPort',
        ] as const) {
          const before = near[name];
          try {
            (near as unknown as Record<string, unknown>)[name] = 'x';
          } catch (error) {
            expect((error as Error).name).toBe('TypeError');
          }
          expect(near[name]).toBe(before);
        }
      },
    },
  ],
};
