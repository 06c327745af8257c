// What the module exports, and what its classes are.

import { EventEmitter } from 'node:events';
import { Duplex } from 'node:stream';
import { expect } from '@jest/globals';
import { next, type Topic, thrownBy } from '../trial.js';

/** Everything that node:net of every supported version exports and documents. */
const NAMES = [
  'BlockList',
  'Server',
  'Socket',
  'SocketAddress',
  'Stream',
  'connect',
  'createConnection',
  'createServer',
  'getDefaultAutoSelectFamily',
  'getDefaultAutoSelectFamilyAttemptTimeout',
  'isIP',
  'isIPv4',
  'isIPv6',
  'setDefaultAutoSelectFamily',
  'setDefaultAutoSelectFamilyAttemptTimeout',
] as const;

type Callable<T> = (...values: unknown[]) => T;

/** Not all of the names are in Node's types. */
function named(net: object, name: (typeof NAMES)[number]): unknown {
  return (net as Record<string, unknown>)[name];
}

export const EXPORTS: Topic = {
  name: 'the module',
  cases: [
    {
      title: 'exports every name that Node documents, each a function',
      run: ({ clientNet }) => {
        for (const name of NAMES) expect([name, typeof named(clientNet, name)]).toEqual([name, 'function']);
      },
    },
    {
      title: 'has enumerable names, for destructuring and copying',
      run: ({ clientNet }) => {
        expect(Object.keys(clientNet)).toEqual(expect.arrayContaining([...NAMES]));
        expect({ ...clientNet }.connect).toBe(clientNet.connect);
      },
    },
    {
      title: 'returns the same values on every access',
      run: ({ clientNet }) => {
        for (const name of NAMES) expect(named(clientNet, name)).toBe(named(clientNet, name));
      },
    },
    {
      title: 'has connect and createConnection as one function, Stream and Socket as one class',
      run: ({ clientNet }) => {
        expect(clientNet.createConnection).toBe(clientNet.connect);
        expect(named(clientNet, 'Stream')).toBe(clientNet.Socket);
      },
    },
    {
      title: 'has functions that work when called without the module',
      run: async ({ clientNet }, t) => {
        const { connect } = clientNet;
        const server = await t.listening();
        const near = t.keep(connect(t.to(server)));
        await next(near, 'connect');
      },
    },
    {
      title: 'classifies IP addresses',
      run: ({ clientNet: { isIP, isIPv4, isIPv6 } }) => {
        const texts = ['::1', '127.0.0.1', '127.000.000.001', '127.0.0.1/24', 'fhqwhgads', '', '::ffff:127.0.0.1'];
        expect(texts.map(isIP)).toEqual([6, 4, 0, 0, 0, 0, 6]);
        expect(texts.map(isIPv4)).toEqual([false, true, false, false, false, false, false]);
        expect(texts.map(isIPv6)).toEqual([true, false, false, false, false, false, true]);
      },
    },
    {
      title: 'has block lists',
      run: ({ clientNet: { BlockList } }) => {
        const list = new BlockList();
        list.addAddress('123.123.123.123');
        list.addRange('10.0.0.1', '10.0.0.10');
        list.addSubnet('8592:757c:efae:4e45::', 64, 'ipv6');
        const texts = ['123.123.123.123', '10.0.0.3', '222.111.111.222'];
        expect(texts.map((text) => list.check(text))).toEqual([true, true, false]);
        expect(list.check('::ffff:7b7b:7b7b', 'ipv6')).toBe(true);
        expect(list.rules).toHaveLength(3);
      },
    },
    {
      title: 'has socket addresses',
      run: ({ clientNet: { SocketAddress } }) => {
        const { address, family, port, flowlabel } = new SocketAddress({ address: '1.2.3.4', port: 80 });
        expect({ address, family, port, flowlabel }).toEqual({
          address: '1.2.3.4',
          family: 'ipv4',
          port: 80,
          flowlabel: 0,
        });
      },
    },
    {
      title: 'gets and sets the defaults of the choice between families',
      run: ({ clientNet }) => {
        const isOn = clientNet.getDefaultAutoSelectFamily();
        const timeoutMs = clientNet.getDefaultAutoSelectFamilyAttemptTimeout();
        expect([typeof isOn, typeof timeoutMs]).toEqual(['boolean', 'number']);
        try {
          clientNet.setDefaultAutoSelectFamily(!isOn);
          clientNet.setDefaultAutoSelectFamilyAttemptTimeout(1);
          expect(clientNet.getDefaultAutoSelectFamily()).toBe(!isOn);
          expect(clientNet.getDefaultAutoSelectFamilyAttemptTimeout()).toBe(10);
        } finally {
          clientNet.setDefaultAutoSelectFamily(isOn);
          clientNet.setDefaultAutoSelectFamilyAttemptTimeout(timeoutMs);
        }
      },
    },
    {
      title: 'throws for defaults of the wrong type',
      run: ({ clientNet }) => {
        const setFamily = clientNet.setDefaultAutoSelectFamily as Callable<void>;
        const setTimeoutMs = clientNet.setDefaultAutoSelectFamilyAttemptTimeout as Callable<void>;
        expect(thrownBy(() => setFamily('yes'))).toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' });
        expect(thrownBy(() => setTimeoutMs('1'))).toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' });
        expect(thrownBy(() => setTimeoutMs(0))).toMatchObject({ code: 'ERR_OUT_OF_RANGE' });
      },
    },
    {
      title: 'makes servers and sockets without new, too',
      run: ({ clientNet }, t) => {
        const socket = (clientNet.Socket as unknown as Callable<InstanceType<typeof clientNet.Socket>>)();
        t.keep(socket);
        const server = (clientNet.Server as unknown as Callable<InstanceType<typeof clientNet.Server>>)();
        expect(socket).toBeInstanceOf(clientNet.Socket);
        expect(server).toBeInstanceOf(clientNet.Server);
        expect(server.listening).toBe(false);
      },
    },
    {
      title: 'makes sockets that are Duplex streams and servers that are emitters',
      run: ({ clientNet }, t) => {
        expect(t.socket()).toBeInstanceOf(Duplex);
        expect(clientNet.createServer()).toBeInstanceOf(EventEmitter);
        expect(clientNet.createServer()).toBeInstanceOf(clientNet.Server);
      },
    },
    {
      title: 'makes instances of its Socket at both ends',
      run: async ({ clientNet, serverNet }, t) => {
        const { near, far } = await t.pair();
        expect(near).toBeInstanceOf(clientNet.Socket);
        expect(far).toBeInstanceOf(serverNet.Socket);
      },
    },
    {
      title: 'has a Socket that can be extended',
      run: async ({ clientNet }, t) => {
        class Greeting extends clientNet.Socket {
          greet(): void {
            this.end('hello');
          }
        }
        const server = await t.listening();
        const accepted = next<[InstanceType<typeof clientNet.Socket>]>(server, 'connection');
        const near = t.keep(new Greeting());
        expect(near.connect(t.to(server), () => near.greet())).toBe(near);
        const [far] = await accepted;
        const [chunk] = await next(far, 'data');
        expect(String(chunk)).toBe('hello');
        expect(near).toBeInstanceOf(Greeting);
      },
    },
    {
      title: 'has a Server that can be extended',
      run: async ({ serverNet }, t) => {
        class Greeter extends serverNet.Server {
          constructor() {
            super((socket) => socket.end('hello'));
          }
        }
        const server = await t.listening(t.keepServer(new Greeter()));
        const [chunk] = await next(t.connect(server), 'data');
        expect(String(chunk)).toBe('hello');
        expect(server).toBeInstanceOf(Greeter);
      },
    },
    {
      title: 'has getters that can be read on the prototypes, as tools do that mock or inspect classes',
      run: ({ clientNet, serverNet }) => {
        const socket = clientNet.Socket.prototype;
        expect([
          socket.bytesRead,
          socket.bytesWritten,
          socket.bufferSize,
          socket.localAddress,
          socket.localPort,
          socket.localFamily,
          socket.remoteAddress,
          socket.remotePort,
          socket.remoteFamily,
          (socket as unknown as { _bytesDispatched: unknown })._bytesDispatched,
        ]).toEqual(Array(10).fill(undefined));
        expect([socket.pending, socket.readyState]).toEqual([true, 'closed']);
        expect(serverNet.Server.prototype.listening).toBe(false);
      },
    },
    {
      title: 'sets the property server on accepted sockets only',
      run: async (_carrier, t) => {
        const { near, far, server } = await t.pair();
        type WithServer = { server: unknown };
        expect((far as unknown as WithServer).server).toBe(server);
        expect((near as unknown as WithServer).server).toBeNull();
      },
    },
  ],
};
