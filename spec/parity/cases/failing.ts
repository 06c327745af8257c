// Connections that fail.

import { getSystemErrorName } from 'node:util';
import { expect } from '@jest/globals';
import { vacantPort } from '../carriers.js';
import { called, next, recorded, type Topic } from '../trial.js';

interface ConnectError extends NodeJS.ErrnoException {
  address?: string;
  port?: number;
  hostname?: string;
}

export const FAILING: Topic = {
  name: 'a socket that cannot connect',
  dialTimeoutMs: 300,
  cases: [
    {
      title: 'is destroyed with ECONNREFUSED where nothing listens',
      run: async ({ clientNet }, t) => {
        const port = await vacantPort(clientNet);
        const near = t.keep(clientNet.connect(port, '127.0.0.1'));
        const seen = recorded(near, ['connect', 'ready', 'end', 'finish', 'error', 'close']);
        const [failed, closed] = [next<[ConnectError]>(near, 'error'), next(near, 'close')];
        const [error] = await failed;
        expect(error).toMatchObject({
          name: 'Error',
          message: `connect ECONNREFUSED 127.0.0.1:${port}`,
          code: 'ECONNREFUSED',
          syscall: 'connect',
          address: '127.0.0.1',
          port,
        });
        expect(getSystemErrorName(error.errno as number)).toBe('ECONNREFUSED');
        expect(await closed).toEqual([true]);
        expect(seen).toEqual(['error', 'close']);
        expect([near.destroyed, near.connecting, near.pending, near.readyState]).toEqual([true, false, true, 'closed']);
      },
    },
    {
      title: 'is destroyed with ECONNREFUSED at this machine or node without a host',
      run: async ({ clientNet }, t) => {
        const near = t.keep(clientNet.connect(await vacantPort(clientNet)));
        expect((await next(near, 'error'))[0]).toMatchObject({ code: 'ECONNREFUSED' });
      },
    },
    {
      title: 'is destroyed with ENOTFOUND for an unknown host',
      differs: 'the overlay waits for the name to appear, until the dial times out',
      run: async ({ clientNet }, t) => {
        const hostname = 'unknown-host.invalid';
        const near = t.keep(clientNet.connect(1234, hostname));
        const seen = recorded(near, ['connect', 'ready', 'error', 'close']);
        const [failed, closed] = [next<[ConnectError]>(near, 'error'), next(near, 'close')];
        const [error] = await failed;
        // EAI_AGAIN where there is no resolver to ask.
        expect(['ENOTFOUND', 'EAI_AGAIN']).toContain(error.code);
        expect(error).toMatchObject({
          name: 'Error',
          message: `getaddrinfo ${error.code} ${hostname}`,
          syscall: 'getaddrinfo',
          hostname,
        });
        expect(typeof error.errno).toBe('number');
        expect([error.address, error.port]).toEqual([undefined, undefined]);
        expect(await closed).toEqual([true]);
        expect(seen).toEqual(['error', 'close']);
      },
    },
    {
      title: 'emits lookup with the error for an unknown host',
      run: async ({ clientNet }, t) => {
        const hostname = 'unknown-host.invalid';
        const near = t.keep(clientNet.connect(1234, hostname));
        const [looked, failed] = [next(near, 'lookup'), next(near, 'error')];
        const [error] = await failed;
        expect(await looked).toEqual([error, undefined, undefined, hostname]);
      },
    },
    {
      title: 'calls back pending writes with ERR_SOCKET_CLOSED_BEFORE_CONNECTION',
      run: async ({ clientNet }, t) => {
        const near = t.keep(clientNet.connect(await vacantPort(clientNet), '127.0.0.1'));
        const outcome = called((done) => near.write('x', done));
        const closed = next(near, 'close');
        await expect(outcome).rejects.toMatchObject({ code: 'ERR_SOCKET_CLOSED_BEFORE_CONNECTION' });
        await closed;
      },
    },
    {
      title: 'never calls the listener for connect',
      run: async ({ clientNet }, t) => {
        let calls = 0;
        const near = t.keep(clientNet.connect(await vacantPort(clientNet), '127.0.0.1', () => calls++));
        await next(near, 'close');
        expect(calls).toBe(0);
      },
    },
    {
      title: 'does not affect other sockets',
      run: async ({ clientNet }, t) => {
        const port = await vacantPort(clientNet);
        const server = await t.listening(t.server((socket) => socket.end('hello')));
        const good = Array.from({ length: 10 }, () => t.connect(server).resume());
        const bad = Array.from({ length: 10 }, () => t.keep(clientNet.connect(port, '127.0.0.1')));
        const closes = await Promise.all([...good, ...bad].map((socket) => next(socket, 'close')));
        expect(closes.map(([hadError]) => hadError)).toEqual([
          ...Array.from({ length: 10 }, () => false),
          ...Array.from({ length: 10 }, () => true),
        ]);
      },
    },
    {
      title: 'fails iteration with the same error',
      run: async ({ clientNet }, t) => {
        const near = t.keep(clientNet.connect(await vacantPort(clientNet), '127.0.0.1'));
        const reading = (async () => {
          for await (const _chunk of near);
        })();
        await expect(reading).rejects.toMatchObject({ code: 'ECONNREFUSED' });
      },
    },
  ],
};
