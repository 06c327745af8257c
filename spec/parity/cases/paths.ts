// Servers and sockets at a path: a unix socket of the system, a service by name alone on the overlay.

import type { Server, Socket } from 'node:net';
import { getSystemErrorName } from 'node:util';
import { expect } from '@jest/globals';
import { type Case, called, next, readAll, type Topic, type Trial } from '../trial.js';

type Listen = (...values: unknown[]) => Server;
type Connect = (...values: unknown[]) => Socket;

async function listeningAt(t: Trial, path: string, listener?: (socket: Socket) => void): Promise<Server> {
  const server = t.server(listener);
  const up = next(server, 'listening');
  server.listen(path);
  await up;
  return server;
}

function listenForm(title: string, argumentsFor: (path: string, listener: () => void) => unknown[]): Case {
  return {
    title: `takes ${title} to listen`,
    run: async ({ path, clientNet }, t) => {
      const at = path();
      const server = t.server();
      let calls = 0;
      const listener = (): void => {
        calls++;
      };
      const values = argumentsFor(at, listener);
      const up = next(server, 'listening');
      expect((server.listen as Listen).call(server, ...values)).toBe(server);
      await up;
      expect(calls).toBe(values.includes(listener) ? 1 : 0);
      expect(server.address()).toBe(at);
      await next(t.keep(clientNet.connect(at)), 'connect');
    },
  };
}

function connectForm(title: string, argumentsFor: (path: string, listener: () => void) => unknown[]): Case {
  return {
    title: `takes ${title} to connect`,
    run: async ({ path, clientNet }, t) => {
      const at = path();
      await listeningAt(t, at);
      let calls = 0;
      const listener = (): void => {
        calls++;
      };
      const values = argumentsFor(at, listener);
      await next(t.keep((clientNet.connect as Connect)(...values)), 'ready');
      const socket = t.socket();
      expect((socket.connect as Connect).call(socket, ...values)).toBe(socket);
      await next(socket, 'ready');
      expect(calls).toBe(values.includes(listener) ? 2 : 0);
    },
  };
}

export const PATHS: Topic = {
  name: 'a path',
  dialTimeoutMs: 300,
  cases: [
    listenForm('a path', (path) => [path]),
    listenForm('a path and a listener', (path, listener) => [path, listener]),
    listenForm('a path, a backlog and a listener', (path, listener) => [path, 16, listener]),
    listenForm('options with a path', (path) => [{ path }]),
    listenForm('options with a path and what belongs to it, and a listener', (path, listener) => [
      { path, backlog: 16, exclusive: true, readableAll: true, writableAll: true },
      listener,
    ]),
    connectForm('a path', (path) => [path]),
    connectForm('a path and a listener', (path, listener) => [path, listener]),
    connectForm('options with a path', (path) => [{ path }]),
    connectForm('options with a path, and a listener', (path, listener) => [{ path }, listener]),
    connectForm('options with a path, which counts more than a port', (path) => [{ path, port: 1, host: 'nowhere' }]),
    {
      title: 'is the address only while the server listens there',
      run: async ({ path }, t) => {
        const at = path();
        const server = t.server();
        expect(server.address()).toBeNull();
        const up = next(server, 'listening');
        server.listen(at);
        expect([server.listening, server.address()]).toEqual([true, at]);
        await up;
        await called((done) => server.close(done));
        expect(server.listening).toBe(false);
      },
    },
    {
      title: 'carries data both ways, half-close included',
      run: async ({ path, clientNet, serverNet }, t) => {
        const at = path();
        const server = t.keepServer(serverNet.createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket)));
        const up = next(server, 'listening');
        server.listen(at);
        await up;
        const near = t.keep(clientNet.connect(at));
        const arrived = readAll(near);
        near.write('hello ');
        near.end('path');
        expect(String(await arrived)).toBe('hello path');
        expect([near.bytesRead, near.bytesWritten]).toEqual([10, 10]);
      },
    },
    {
      title: 'that is in use is EADDRINUSE',
      run: async ({ path }, t) => {
        const at = path();
        await listeningAt(t, at);
        const second = t.server();
        const failed = next<[NodeJS.ErrnoException & { address: string; port: number }]>(second, 'error');
        second.listen(at);
        const [error] = await failed;
        expect(error).toMatchObject({
          name: 'Error',
          code: 'EADDRINUSE',
          syscall: 'listen',
          address: at,
          port: -1,
          message: `listen EADDRINUSE: address already in use ${at}`,
        });
        expect(getSystemErrorName(error.errno as number)).toBe('EADDRINUSE');
        expect(second.listening).toBe(false);
      },
    },
    {
      title: 'is free again when its server is closed',
      run: async ({ path, clientNet }, t) => {
        const at = path();
        for (const word of ['one', 'two']) {
          const server = await listeningAt(t, at, (socket) => socket.resume().end(word));
          expect(String(await readAll(t.keep(clientNet.connect(at))))).toBe(word);
          await called((done) => server.close(done));
        }
      },
    },
    {
      title: 'where nothing listens is ENOENT',
      differs: 'the overlay waits for the name to appear, until the dial times out',
      run: async ({ path, clientNet }, t) => {
        const at = path();
        const near = t.keep(clientNet.connect(at));
        const [failed, closed] = [next(near, 'error'), next(near, 'close')];
        expect((await failed)[0]).toMatchObject({
          name: 'Error',
          code: 'ENOENT',
          syscall: 'connect',
          address: at,
          message: `connect ENOENT ${at}`,
        });
        expect(await closed).toEqual([true]);
        expect(near.destroyed).toBe(true);
      },
    },
    {
      title: 'has servers that emit drop without addresses',
      run: async ({ path, clientNet }, t) => {
        const at = path();
        const server = await listeningAt(t, at);
        server.maxConnections = 1;
        const accepted = next(server, 'connection');
        t.keep(clientNet.connect(at));
        await accepted;
        const dropped = next(server, 'drop');
        const extra = t.keep(clientNet.connect(at)).resume();
        const closed = next(extra, 'close');
        expect((await dropped)[0]).toBeUndefined();
        await closed;
      },
    },
    {
      title: 'has no lookup',
      run: async ({ path, clientNet }, t) => {
        const at = path();
        await listeningAt(t, at);
        const near = t.keep(clientNet.connect(at));
        let isTold = false;
        near.on('lookup', () => {
          isTold = true;
        });
        await next(near, 'ready');
        expect(isTold).toBe(false);
      },
    },
  ],
};
