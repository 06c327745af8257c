// The life of a server: address, close, counts and limits.

import { once } from 'node:events';
import { getSystemErrorName } from 'node:util';
import { expect } from '@jest/globals';
import { turn } from '../../support/turns.js';
import { vacantPort } from '../carriers.js';
import { called, next, portOf, recorded, soon, type Topic, thrownBy } from '../trial.js';

const NOT_RUNNING = { name: 'Error', code: 'ERR_SERVER_NOT_RUNNING', message: 'Server is not running.' };

interface TakenError extends NodeJS.ErrnoException {
  address: string;
  port: number;
}

export const SERVERS: Topic = {
  name: 'a server',
  cases: [
    {
      title: 'has an address only while it listens',
      differs: 'the kind of addresses',
      run: async ({ family, serverAddress }, t) => {
        const server = t.server();
        expect([server.address(), server.listening]).toEqual([null, false]);
        await t.listening(server);
        expect(server.listening).toBe(true);
        expect(server.address()).toMatchObject({ address: serverAddress, family, port: expect.any(Number) });
        server.close();
        expect([server.address(), server.listening]).toEqual([null, false]);
      },
    },
    {
      title: 'returns its address as a new object each time',
      run: async (_carrier, t) => {
        const server = await t.listening();
        const port = portOf(server);
        (server.address() as { port: number }).port = 0;
        expect(portOf(server)).toBe(port);
      },
    },
    {
      title: 'emits one event for a socket, with the socket alone',
      run: async (_carrier, t) => {
        const seen: unknown[][] = [];
        const server = await t.listening(t.server());
        server.on('connection', (...values) => seen.push(values));
        const { far } = await t.ends(server);
        expect(seen).toEqual([[far]]);
        expect(seen[0]).toHaveLength(1);
      },
    },
    {
      title: 'calls its connection listener with the server as this',
      run: async (_carrier, t) => {
        let self: unknown;
        const server = await t.listening(
          t.server(function (this: unknown) {
            self = this;
          }),
        );
        await t.ends(server);
        expect(self).toBe(server);
      },
    },
    {
      title: 'closes without an error, and emits close in the next tick',
      run: async (_carrier, t) => {
        const server = await t.listening();
        const seen: unknown[] = [];
        server.on('close', (...values) => seen.push('close', ...values));
        const closed = called((done) => {
          const answer = server.close((...values) => {
            seen.push('callback', ...values);
            done(values[0]);
          });
          expect(answer).toBe(server);
        });
        expect(seen).toEqual([]);
        await closed;
        await turn();
        expect(seen).toEqual(['close', 'callback']);
      },
    },
    {
      title: 'passes ERR_SERVER_NOT_RUNNING to the callback of close when it was not running',
      run: async (_carrier, t) => {
        const server = t.server();
        await expect(called((done) => server.close(done))).rejects.toMatchObject(NOT_RUNNING);
      },
    },
    {
      title: 'passes ERR_SERVER_NOT_RUNNING to the callback of a second close',
      run: async (_carrier, t) => {
        const server = await t.listening();
        const first = called((done) => server.close(done));
        const second = called((done) => server.close(done));
        await first;
        await expect(second).rejects.toMatchObject(NOT_RUNNING);
      },
    },
    {
      title: 'does not throw on close without a callback when it was not running',
      run: async (_carrier, t) => {
        const server = t.server();
        const closed = next(server, 'close');
        expect(server.close()).toBe(server);
        expect(await closed).toEqual([]);
      },
    },
    {
      title: 'is closed when its last socket is closed',
      run: async (_carrier, t) => {
        const { server, near, far } = await t.pair();
        const other = await t.ends(server);
        const closed = next(server, 'close');
        let isClosed = false;
        server.on('close', () => {
          isClosed = true;
        });
        server.close();
        near.destroy();
        await next(far, 'close');
        await turn();
        expect([isClosed, other.far.destroyed, server.listening]).toEqual([false, false, false]);
        other.near.destroy();
        await closed;
      },
    },
    {
      title: 'leaves its sockets working when it closes',
      run: async (_carrier, t) => {
        const { server, near, far } = await t.pair();
        server.close();
        await turn();
        far.write('still here');
        const [chunk] = await next(near, 'data');
        expect(String(chunk)).toBe('still here');
      },
    },
    {
      title: 'emits close once, regardless of how many sockets it had',
      run: async (_carrier, t) => {
        const server = await t.listening();
        let closes = 0;
        server.on('close', () => closes++);
        const ends = await Promise.all([t.ends(server), t.ends(server), t.ends(server)]);
        const closed = next(server, 'close');
        server.close();
        for (const { near } of ends) near.destroy();
        await closed;
        await turn();
        expect(closes).toBe(1);
      },
    },
    {
      title: 'refuses sockets after close',
      run: async ({ clientNet }, t) => {
        const server = t.keepServer(clientNet.createServer());
        server.listen(0);
        await next(server, 'listening');
        const port = portOf(server);
        server.close();
        const [error] = await next(t.keep(clientNet.connect(port, '127.0.0.1')), 'error');
        expect(error).toMatchObject({ code: 'ECONNREFUSED' });
      },
    },
    {
      title: 'closes on asyncDispose, and waits for its sockets',
      run: async (_carrier, t) => {
        const { server, near } = await t.pair();
        let isOver = false;
        const over = server[Symbol.asyncDispose]().then(() => {
          isOver = true;
        });
        await turn();
        expect([server.listening, isOver]).toEqual([false, false]);
        near.destroy();
        await soon('the end of the server', over);
      },
    },
    {
      title: 'has nothing to do on asyncDispose when it does not listen',
      run: async (_carrier, t) => {
        await expect(t.server()[Symbol.asyncDispose]()).resolves.toBeUndefined();
      },
    },
    {
      title: 'counts its sockets, and calls back later',
      run: async (_carrier, t) => {
        const server = await t.listening();
        const counts: Array<[Error | null, number]> = [];
        const count = (): Promise<number> =>
          soon(
            'the count',
            new Promise((resolve) => {
              const answer = server.getConnections((error, value) => {
                counts.push([error, value]);
                resolve(value);
              });
              expect(answer).toBe(server);
            }),
          );
        const zero = count();
        expect(counts).toEqual([]);
        expect(await zero).toBe(0);
        expect(counts).toEqual([[null, 0]]);
        const { near } = await t.ends(server);
        const { far } = await t.ends(server);
        expect(await count()).toBe(2);
        const closed = next(far, 'close');
        far.destroy();
        await closed;
        expect(await count()).toBe(1);
        near.destroy();
      },
    },
    {
      title: 'drops sockets beyond maxConnections, and emits drop',
      differs: 'the kind of addresses',
      run: async ({ serverAddress, clientAddress, family }, t) => {
        const server = await t.listening();
        server.maxConnections = 1;
        let accepted = 0;
        server.on('connection', () => accepted++);
        await t.ends(server);
        const dropped = next<[object]>(server, 'drop');
        const extra = t.connect(server);
        const closed = next(extra, 'close');
        const [data] = await dropped;
        expect({ ...data }).toMatchObject({
          localAddress: serverAddress,
          localPort: portOf(server),
          localFamily: family,
          remoteAddress: clientAddress,
          remotePort: expect.any(Number),
          remoteFamily: family,
        });
        extra.resume();
        await closed;
        expect(accepted).toBe(1);
      },
    },
    {
      title: 'connects sockets beyond maxConnections and closes them without an error at the client',
      run: async (_carrier, t) => {
        const server = await t.listening();
        server.maxConnections = 1;
        const first = await t.ends(server);
        for (let time = 0; time < 2; time++) {
          const dropped = next(server, 'drop');
          const extra = t.connect(server);
          const seen = recorded(extra, ['connect', 'end', 'error', 'close']);
          const closed = next(extra, 'close');
          extra.resume();
          expect(await closed).toEqual([false]);
          expect(seen).toEqual(['connect', 'end', 'close']);
          await dropped;
        }
        const count = await called<number>((done) => server.getConnections(done));
        expect([count, first.near.destroyed, first.far.destroyed]).toEqual([1, false, false]);
        const closed = called((done) => server.close(done));
        first.near.destroy();
        await closed;
      },
    },
    {
      title: 'accepts sockets again when there are fewer than maxConnections',
      run: async (_carrier, t) => {
        const server = await t.listening();
        server.maxConnections = 1;
        const first = await t.ends(server);
        const dropped = next(server, 'drop');
        t.connect(server).resume();
        await dropped;
        const gone = next(first.far, 'close');
        first.near.destroy();
        first.far.resume();
        await gone;
        const { far } = await t.ends(server);
        expect(far.destroyed).toBe(false);
      },
    },
    {
      title: 'has no maxConnections at first',
      run: (_carrier, t) => {
        expect(t.server().maxConnections).toBeUndefined();
      },
    },
    {
      title: 'returns itself from ref and unref, listening or not',
      run: async (_carrier, t) => {
        const server = t.server();
        expect(server.unref()).toBe(server);
        expect(server.ref()).toBe(server);
        await t.listening(server);
        expect(server.unref().unref()).toBe(server);
        expect(server.ref().ref()).toBe(server);
        await next(t.connect(server), 'connect');
      },
    },
    {
      title: 'throws ERR_INVALID_ARG_TYPE for invalid options',
      run: ({ serverNet }) => {
        const createServer = serverNet.createServer as (options: unknown) => unknown;
        expect(thrownBy(() => createServer('path'))).toMatchObject({
          name: 'TypeError',
          code: 'ERR_INVALID_ARG_TYPE',
          message: 'The "options" argument must be of type object. Received type string (\'path\')',
        });
        for (const options of [undefined, null, {}]) expect(() => createServer(options)).not.toThrow();
        expect(thrownBy(() => createServer({ highWaterMark: 'x' }))).toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' });
        expect(thrownBy(() => createServer({ keepAliveInitialDelay: 'x' }))).toMatchObject({
          code: 'ERR_INVALID_ARG_TYPE',
        });
      },
    },
    {
      title: 'fails with EADDRINUSE at an address that is in use, and may then listen elsewhere',
      run: async (_carrier, t) => {
        const first = await t.listening();
        const { port, host } = t.to(first);
        const second = t.server();
        const seen = recorded(second, ['listening', 'close']);
        const failed = once(second, 'error');
        second.listen(port, host, () => seen.push('callback'));
        const [error] = (await soon('the error', failed)) as [TakenError];
        expect(error).toMatchObject({
          name: 'Error',
          code: 'EADDRINUSE',
          syscall: 'listen',
          address: host,
          port,
          message: `listen EADDRINUSE: address already in use ${host}:${port}`,
        });
        expect(getSystemErrorName(error.errno as number)).toBe('EADDRINUSE');
        expect([second.listening, second.address()]).toEqual([false, null]);
        await turn();
        expect(seen).toEqual([]);
        await t.listening(second);
        expect(seen).toEqual(['listening', 'callback']);
      },
    },
    {
      title: 'fails with EADDRINUSE at a port in use without a host',
      run: async (_carrier, t) => {
        const first = t.server();
        first.listen(0);
        await next(first, 'listening');
        const second = t.server();
        const failed = next<[TakenError]>(second, 'error');
        second.listen(portOf(first));
        const [error] = await failed;
        expect(error).toMatchObject({ code: 'EADDRINUSE', syscall: 'listen', port: portOf(first) });
        expect(error.message).toMatch(/^listen EADDRINUSE: address already in use .*:\d+$/);
      },
    },
    {
      title: 'is not running after listen has failed',
      run: async (_carrier, t) => {
        const first = await t.listening();
        const second = t.server();
        const failed = next(second, 'error');
        second.listen(t.to(first));
        await failed;
        await expect(called((done) => second.close(done))).rejects.toMatchObject(NOT_RUNNING);
      },
    },
    {
      title: 'frees its address when it closes, even while sockets are open',
      run: async ({ serverNet }, t) => {
        const port = await vacantPort(serverNet);
        const first = t.server();
        first.listen(port, '127.0.0.1');
        await next(first, 'listening');
        const accepted = next(first, 'connection');
        const near = t.keep(serverNet.connect(port, '127.0.0.1'));
        await Promise.all([accepted, next(near, 'connect')]);
        first.close();
        const second = t.server();
        second.listen(port, '127.0.0.1');
        await next(second, 'listening');
        expect(near.destroyed).toBe(false);
      },
    },
  ],
};
