// The argument forms of connect, and its errors for invalid ones.

import { expect } from '@jest/globals';
import { type Case, called, next, portOf, type Topic, thrownBy } from '../trial.js';

type Connect = (...values: unknown[]) => InstanceType<typeof import('node:net').Socket>;

/** A form of arguments that must lead to a server. */
function form(title: string, argumentsFor: (port: number, host: string, listener: () => void) => unknown[]): Case {
  return {
    title: `takes ${title}`,
    run: async ({ clientNet }, t) => {
      const server = await t.listening();
      const { port, host } = t.to(server);
      let calls = 0;
      const listener = (): void => {
        calls++;
      };
      const values = argumentsFor(port, host, listener);
      const near = t.keep((clientNet.connect as Connect)(...values));
      await next(near, 'ready');
      const again = t.socket();
      expect((again.connect as Connect).call(again, ...values)).toBe(again);
      await next(again, 'ready');
      expect(calls).toBe(values.includes(listener) ? 2 : 0);
      expect(near.remotePort).toBe(port);
      expect(again.remotePort).toBe(port);
    },
  };
}

/** Arguments that are refused at once, by a throw. */
function refused(title: string, values: unknown[], expected: object): Case {
  return {
    title: `throws ${(expected as { code: string }).code} for ${title}`,
    run: ({ clientNet }, t) => {
      expect(thrownBy(() => (clientNet.connect as Connect)(...values))).toMatchObject(expected);
      const socket = t.socket();
      expect(thrownBy(() => (socket.connect as Connect).call(socket, ...values))).toMatchObject(expected);
    },
  };
}

const ARG_TYPE = { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' };
const MISSING = {
  name: 'TypeError',
  code: 'ERR_MISSING_ARGS',
  message: 'The "options" or "port" or "path" argument must be specified',
};

export const DIALLING: Topic = {
  name: 'connect',
  cases: [
    form('a port and a host', (port, host) => [port, host]),
    form('a port, a host and a listener', (port, host, listener) => [port, host, listener]),
    form('a port as text', (port, host) => [String(port), host]),
    form('options', (port, host) => [{ port, host }]),
    form('options and a listener', (port, host, listener) => [{ port, host }, listener]),
    form('options with a port as text', (port, host) => [{ port: String(port), host }]),
    form('options for IP that mean nothing here', (port, host) => [
      { port, host, family: 0, hints: 0, noDelay: true, keepAlive: true, keepAliveInitialDelay: 1000 },
    ]),
    {
      title: 'takes a port alone, which means this machine or node',
      run: async ({ clientNet }, t) => {
        const server = t.keepServer(clientNet.createServer());
        server.listen(0);
        await next(server, 'listening');
        const near = t.keep(clientNet.connect(portOf(server)));
        await next(near, 'connect');
        const connect = clientNet.connect as Connect;
        await called((done) => t.keep(connect(portOf(server), done)));
      },
    },
    {
      title: 'takes every name of this machine or node as host',
      run: async ({ clientNet, localHosts }, t) => {
        const server = t.keepServer(clientNet.createServer());
        server.listen(0);
        await next(server, 'listening');
        for (const host of localHosts.dial) {
          await next(t.keep(clientNet.connect({ port: portOf(server), host })), 'connect');
        }
      },
    },
    {
      title: 'takes a name as host',
      run: async ({ clientNet, nameFor }, t) => {
        const server = await t.listening();
        const { port, host } = t.to(server);
        await next(t.keep(clientNet.connect(port, nameFor(host))), 'connect');
      },
    },
    {
      title: 'ignores a host of the wrong type when it is a separate argument',
      run: async ({ clientNet }, t) => {
        const server = t.keepServer(clientNet.createServer());
        server.listen(0);
        await next(server, 'listening');
        const near = t.keep((clientNet.connect as Connect)(portOf(server), undefined, undefined));
        await next(near, 'connect');
      },
    },
    {
      title: 'adds the listener as a once listener of connect',
      run: async (_carrier, t) => {
        const server = await t.listening();
        const seen: unknown[][] = [];
        const near = t.connect(server, {}, (...values: unknown[]) => seen.push(values));
        expect(near.listenerCount('connect')).toBeGreaterThan(0);
        await next(near, 'ready');
        near.emit('connect');
        expect(seen).toEqual([[]]);
      },
    },
    {
      title: 'calls the listener with the socket as this',
      run: async ({ clientNet }, t) => {
        const server = await t.listening();
        let self: unknown;
        const near = t.keep(
          clientNet.connect(t.to(server), function (this: unknown) {
            self = this;
          }),
        );
        await next(near, 'ready');
        expect(self).toBe(near);
      },
    },
    {
      title: "does not change the caller's options",
      run: async ({ clientNet }, t) => {
        const server = await t.listening();
        const options = Object.freeze({ ...t.to(server), allowHalfOpen: true });
        const near = t.keep(clientNet.connect(options));
        expect(near.allowHalfOpen).toBe(true);
        await next(near, 'connect');
      },
    },
    refused('no arguments', [], MISSING),
    refused('empty options', [{}], MISSING),
    refused('options with a host alone', [{ host: 'localhost' }], MISSING),
    refused('undefined', [undefined], MISSING),
    refused('null as port', [null], ARG_TYPE),
    refused('true as port', [{ port: true }], {
      ...ARG_TYPE,
      message: 'The "options.port" property must be one of type number or string. Received type boolean (true)',
    }),
    refused('an object as port', [{ port: {} }], {
      ...ARG_TYPE,
      message: 'The "options.port" property must be one of type number or string. Received an instance of Object',
    }),
    refused('a function as port', [{ port: () => {} }], ARG_TYPE),
    {
      title: 'throws ERR_SOCKET_BAD_PORT for an invalid port',
      differs: 'virtual ports have 32 bits',
      run: ({ clientNet, portEnd }) => {
        const values = [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, portEnd, 'x', '', ' ', '-1', `${portEnd}`];
        for (const port of values) {
          const error = thrownBy(() => clientNet.connect({ port: port as number }));
          expect(error).toMatchObject({ name: 'RangeError', code: 'ERR_SOCKET_BAD_PORT' });
        }
        expect(thrownBy(() => clientNet.connect(-1)).message).toBe(
          `Port should be >= 0 and < ${portEnd}. Received type number (-1).`,
        );
        expect(thrownBy(() => clientNet.connect({ port: 'x' as unknown as number })).message).toBe(
          `Port should be >= 0 and < ${portEnd}. Received type string ('x').`,
        );
      },
    },
    refused('a path that is no string', [{ path: 5 }], {
      ...ARG_TYPE,
      message: 'The "options.path" property must be of type string. Received type number (5)',
    }),
    refused('a local port that is no number', [{ port: 1, host: '127.0.0.1', localPort: 'x' }], {
      ...ARG_TYPE,
      message: 'The "options.localPort" property must be of type number. Received type string (\'x\')',
    }),
    refused('a local address that is none', [{ port: 1, host: '127.0.0.1', localAddress: 'no address' }], {
      name: 'TypeError',
      code: 'ERR_INVALID_IP_ADDRESS',
      message: 'Invalid IP address: no address',
    }),
    refused('a lookup that is no function', [{ port: 1, host: 'localhost', lookup: 'x' }], ARG_TYPE),
    refused('an autoSelectFamily that is no boolean', [{ port: 1, autoSelectFamily: 'x' }], ARG_TYPE),
    refused(
      'the timeout of an attempt that is no number',
      [{ port: 1, autoSelectFamilyAttemptTimeout: 'x' }],
      ARG_TYPE,
    ),
    {
      title: 'throws ERR_OUT_OF_RANGE and ERR_INVALID_ARG_TYPE for an invalid timeout',
      run: ({ clientNet }) => {
        const connect = clientNet.connect as Connect;
        expect(thrownBy(() => connect({ port: 1, timeout: -1 }))).toMatchObject({ code: 'ERR_OUT_OF_RANGE' });
        expect(thrownBy(() => connect({ port: 1, timeout: 'x' }))).toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' });
      },
    },
    {
      title: 'does not connect in the same tick',
      run: async (_carrier, t) => {
        const server = await t.listening();
        let isConnected = false;
        const near = t.connect(server, {}, () => {
          isConnected = true;
        });
        await Promise.resolve();
        expect(isConnected).toBe(false);
        expect(near.connecting).toBe(true);
        await next(near, 'connect');
      },
    },
  ],
};
