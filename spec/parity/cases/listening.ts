// The argument forms of listen, and its errors for invalid ones.

import { closeSync, openSync } from 'node:fs';
import type { Server } from 'node:net';
import { devNull } from 'node:os';
import { expect } from '@jest/globals';
import { turn } from '../../support/turns.js';
import { type Case, called, next, portOf, type Topic, thrownBy } from '../trial.js';

type Listen = (...values: unknown[]) => Server;

function listen(server: Server, ...values: unknown[]): Server {
  return (server.listen as Listen).call(server, ...values);
}

/** A form of arguments that must bring a server up at a port. */
function form(title: string, argumentsFor: (listener: () => void, host: string) => unknown[]): Case {
  return {
    title: `takes ${title}`,
    run: async ({ listenAt }, t) => {
      const server = t.server();
      let calls = 0;
      const listener = (): void => {
        calls++;
      };
      const values = argumentsFor(listener, listenAt().host);
      const up = next(server, 'listening');
      expect(listen(server, ...values)).toBe(server);
      expect(await up).toEqual([]);
      expect(calls).toBe(values.includes(listener) ? 1 : 0);
      expect(portOf(server)).toBeGreaterThan(0);
    },
  };
}

/** Arguments that are refused at once, by a throw. */
function refused(title: string, values: unknown[], expected: object): Case {
  return {
    title: `throws ${(expected as { code: string }).code} for ${title}`,
    run: (_carrier, t) => {
      const server = t.server();
      expect(thrownBy(() => listen(server, ...values))).toMatchObject(expected);
      expect(server.listening).toBe(false);
    },
  };
}

const ARG_VALUE = { name: 'TypeError', code: 'ERR_INVALID_ARG_VALUE' };

export const LISTENING: Topic = {
  name: 'listen',
  cases: [
    form('nothing', () => []),
    form('a listener alone', (listener) => [listener]),
    form('null and a listener', (listener) => [null, listener]),
    form('undefined and a listener', (listener) => [undefined, listener]),
    form('a port', () => [0]),
    form('a port as text', () => ['0']),
    form('a port and a listener', (listener) => [0, listener]),
    form('a port, a backlog and a listener', (listener) => [0, 16, listener]),
    form('a port and a host', (_listener, host) => [0, host]),
    form('a port, a host and a listener', (listener, host) => [0, host, listener]),
    form('a port, a host, a backlog and a listener', (listener, host) => [0, host, 16, listener]),
    form('a port, an undefined host, a backlog and a listener', (listener) => [0, undefined, 16, listener]),
    form('options with a port', () => [{ port: 0 }]),
    form('options with everything, and a listener', (listener, host) => [
      { port: 0, host, backlog: 16, exclusive: true, ipv6Only: false },
      listener,
    ]),
    form('options with an undefined port', () => [{ port: undefined }]),
    form('options with a port of null', () => [{ port: null }]),
    form('options with a port and a path, of which the port counts', (_listener, host) => [
      { port: 0, host, path: '/no/such/place' },
    ]),
    {
      title: 'takes every name of this machine or node as host, for the port alone',
      run: async ({ clientNet, localHosts }, t) => {
        for (const host of localHosts.listen) {
          const server = t.keepServer(clientNet.createServer());
          server.listen(0, host);
          await next(server, 'listening');
          await next(
            t.keep(clientNet.connect(portOf(server), host === 'localhost' ? host : localHosts.dial[1])),
            'connect',
          );
        }
      },
    },
    {
      title: 'binds the given port',
      run: async ({ listenAt }, t) => {
        const first = await t.listening();
        const port = portOf(first);
        await called((done) => first.close(done));
        const second = await t.listening(t.server(), { ...listenAt(), port });
        expect(portOf(second)).toBe(port);
        await next(t.connect(second), 'connect');
      },
    },
    {
      title: 'picks another free port for every server',
      run: async (_carrier, t) => {
        const servers = await Promise.all(Array.from({ length: 20 }, () => t.listening()));
        expect(new Set(servers.map(portOf)).size).toBe(20);
      },
    },
    {
      title: 'binds the largest port there is',
      differs: 'virtual ports have 32 bits',
      run: async ({ clientNet, portEnd }, t) => {
        const server = t.keepServer(clientNet.createServer());
        server.listen(portEnd - 1, '127.0.0.1');
        await next(server, 'listening');
        expect(portOf(server)).toBe(portEnd - 1);
        const near = t.keep(clientNet.connect(portEnd - 1, '127.0.0.1'));
        await next(near, 'connect');
        expect(near.remotePort).toBe(portEnd - 1);
      },
    },
    {
      title: 'binds at once without a host, and emits listening in the next tick',
      run: async (_carrier, t) => {
        const server = t.server();
        let isTold = false;
        server.listen(0, () => {
          isTold = true;
        });
        expect([server.listening, isTold]).toEqual([true, false]);
        expect(portOf(server)).toBeGreaterThan(0);
        await next(server, 'listening');
        expect(isTold).toBe(true);
      },
    },
    {
      title: 'adds the listener as a once listener of listening',
      run: async (_carrier, t) => {
        const server = t.server();
        let calls = 0;
        server.listen(0, () => calls++);
        expect(server.listenerCount('listening')).toBe(1);
        await next(server, 'listening');
        server.emit('listening');
        expect(calls).toBe(1);
      },
    },
    {
      title: 'does not emit listening when the server is closed in the same tick',
      run: async (_carrier, t) => {
        const server = t.server();
        let isTold = false;
        server.listen(0, () => {
          isTold = true;
        });
        await called((done) => server.close(done));
        await turn();
        expect(isTold).toBe(false);
      },
    },
    {
      title: 'does not emit listening when a server at a host is closed in the same tick',
      run: async ({ listenAt }, t) => {
        const server = t.server();
        const seen: string[] = [];
        server.on('listening', () => seen.push('listening')).on('close', () => seen.push('close'));
        server.listen(listenAt());
        const closed = next(server, 'close');
        server.close();
        await closed;
        await t.listening(); // A lookup takes a while, and so did this one.
        expect(seen).toEqual(['close']);
      },
    },
    refused('options without port and path', [{}], {
      ...ARG_VALUE,
      message: 'The argument \'options\' must have the property "port" or "path". Received {}',
    }),
    refused('options with a host alone', [{ host: '127.0.0.1' }], ARG_VALUE),
    refused('a boolean', [true], ARG_VALUE),
    refused('a port that is a boolean', [{ port: false }], {
      ...ARG_VALUE,
      message: "The argument 'options' is invalid. Received { port: false }",
    }),
    refused('a path that is a number', [{ path: 5 }], ARG_VALUE),
    {
      title: 'throws ERR_SOCKET_BAD_PORT for an invalid port',
      differs: 'virtual ports have 32 bits',
      run: ({ portEnd }, t) => {
        const server = t.server();
        for (const port of [-1, 0.5, Number.NaN, portEnd, 'x', '', '-1']) {
          const error = thrownBy(() => listen(server, { port }));
          expect(error).toMatchObject({ name: 'RangeError', code: 'ERR_SOCKET_BAD_PORT' });
        }
        expect(thrownBy(() => listen(server, portEnd)).message).toBe(
          `options.port should be >= 0 and < ${portEnd}. Received type number (${portEnd}).`,
        );
        expect(server.listening).toBe(false);
      },
    },
    refused('a signal that is none', [{ port: 0, signal: 'x' }], {
      name: 'TypeError',
      code: 'ERR_INVALID_ARG_TYPE',
      message: 'The "options.signal" property must be an instance of AbortSignal. Received type string (\'x\')',
    }),
    {
      title: 'throws ERR_SERVER_ALREADY_LISTEN when the server is already listening',
      run: async (_carrier, t) => {
        const server = t.server();
        server.listen(0);
        const expected = {
          name: 'Error',
          code: 'ERR_SERVER_ALREADY_LISTEN',
          message: 'Listen method has been called more than once without closing.',
        };
        expect(thrownBy(() => server.listen(0))).toMatchObject(expected);
        await next(server, 'listening');
        expect(thrownBy(() => server.listen({ port: 0 }))).toMatchObject(expected);
        expect(server.listening).toBe(true);
      },
    },
    {
      title: 'may listen again after close, with the same listeners',
      run: async (_carrier, t) => {
        const server = t.server((socket) => socket.end('hello'));
        let starts = 0;
        server.on('listening', () => starts++);
        for (const round of [1, 2, 3]) {
          await t.listening(server);
          const [chunk] = await next(t.connect(server), 'data');
          expect([String(chunk), starts]).toEqual(['hello', round]);
          await called((done) => server.close(done));
        }
      },
    },
    {
      title: 'may listen again at once after close, at the same port',
      run: async (_carrier, t) => {
        const server = await t.listening();
        const { port } = server.address() as { port: number };
        server.close();
        await t.listening(server, { port });
        expect(portOf(server)).toBe(port);
      },
    },
    {
      title: 'closes when its signal is aborted',
      run: async (_carrier, t) => {
        const control = new AbortController();
        const server = await t.listening(t.server(), { signal: control.signal });
        const closed = next(server, 'close');
        control.abort();
        await closed;
        expect([server.listening, server.address()]).toEqual([false, null]);
      },
    },
    {
      title: 'closes without listening when its signal is already aborted',
      run: async ({ listenAt }, t) => {
        const server = t.server();
        const seen: string[] = [];
        for (const name of ['listening', 'error', 'close']) server.on(name, () => seen.push(name));
        const closed = next(server, 'close');
        server.listen({ ...listenAt(), signal: AbortSignal.abort() });
        await closed;
        expect([seen, server.listening]).toEqual([['close'], false]);
      },
    },
    {
      title: 'stops listening to its signal once it is closed',
      run: async (_carrier, t) => {
        const control = new AbortController();
        const server = await t.listening(t.server(), { signal: control.signal });
        await called((done) => server.close(done));
        await t.listening(server);
        control.abort();
        await turn();
        expect(server.listening).toBe(true);
      },
    },
    {
      title: 'fails for a file descriptor that is not a socket',
      differs: 'the overlay cannot listen at a descriptor or handle, and may also throw',
      run: async ({ isOverlay }, t) => {
        const server = t.server();
        const fd = openSync(devNull, 'r');
        try {
          const failed = new Promise<Error>((resolve) => {
            server.once('error', resolve);
            try {
              listen(server, { fd });
            } catch (error) {
              if (!isOverlay) throw error;
              resolve(error as Error);
            }
          });
          const error = (await failed) as NodeJS.ErrnoException;
          if (isOverlay) expect(typeof error.code).toBe('string');
          else expect(error).toMatchObject({ code: 'EINVAL', syscall: 'listen' });
          expect(server.listening).toBe(false);
        } finally {
          closeSync(fd);
        }
      },
    },
  ],
};
