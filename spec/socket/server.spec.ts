import { once } from 'node:events';
import { createServer as createHttpServer, request } from 'node:http';
import { createServer } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Server, Socket } from '../../lib/index.js';
import { runProgram } from '../support/built-lib.js';
import { within } from '../support/deadline.js';
import { type NodePair, nodePair, readAll, socketPair } from '../support/socket-pair.js';

let pair: NodePair;
beforeEach(async () => {
  pair = await nodePair();
});
afterEach(async () => {
  await pair[Symbol.asyncDispose]();
});

function connections(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.getConnections((error, count) => (error ? reject(error) : resolve(count)));
  });
}

describe('a bound server', () => {
  it('listens, answers and closes with the events of net.Server', async () => {
    const server = pair.server.bind('life');
    expect(server.listening).toBe(true);
    await once(server, 'listening');
    expect(server.address()).toMatchObject({ address: `@${pair.server.id}`, service: 'life' });
    const near = pair.client.dial('life');
    const [far] = (await once(server, 'connection')) as [Socket];
    expect(await connections(server)).toBe(1);
    let closed = false;
    server.close(() => {
      closed = true;
    });
    expect(server.listening).toBe(false);
    expect(server.address()).toBeNull();
    near.resume();
    far.end();
    await once(server, 'close');
    expect(closed).toBe(true);
    expect(await connections(server)).toBe(0);
  });

  it('reports a second close to its callback', async () => {
    const server = pair.server.bind('twice');
    server.close();
    const error = await new Promise<Error | undefined>((resolve) => server.close(resolve));
    expect(error).toMatchObject({ code: 'ERR_SERVER_NOT_RUNNING' });
  });

  it('frees its name when it closes', async () => {
    const server = pair.server.bind('again:7');
    const [error] = await once(pair.server.bind('again:7'), 'error');
    expect(error).toMatchObject({ code: 'EADDRINUSE', syscall: 'listen', address: 'again', port: 7 });
    server.close();
    await once(pair.server.bind('again:7'), 'listening');
  });

  it('drops sockets beyond maxConnections and says so', async () => {
    const server = pair.server.bind('few', { maxConnections: 1 });
    const first = pair.client.dial('few').on('error', () => {});
    server.on('connection', (socket) => socket.on('error', () => {}));
    await once(first, 'connect');
    const dropped = once(server, 'drop');
    const second = pair.client.dial('few');
    const [error] = await once(second, 'error');
    expect(error).toMatchObject({ code: 'ECONNREFUSED', syscall: 'connect', address: 'few' });
    expect((await dropped)[0]).toMatchObject({ remoteAddress: `@${pair.client.id}` });
  });

  it('of node.net closes a socket beyond maxConnections also when a listener of drop throws', async () => {
    const child = runProgram(`
      process.on('uncaughtException', ({ message }) => say({ message }));
      const { once } = await import('node:events');
      const { net } = starlane.createNode();
      const server = net.createServer().listen(7);
      server.maxConnections = 1;
      server.on('drop', () => {
        throw new Error('of drop');
      });
      const near = net.connect(7);
      const [[far]] = await Promise.all([once(server, 'connection'), once(near, 'connect')]);
      await once(net.connect(7).resume(), 'close');
      far.destroy();
      near.destroy();
      server.close();`);
    expect(await within('the end of the process', child.exited)).toBe(0);
    expect(child.lines).toEqual([{ message: 'of drop' }]);
  });

  it('closes with the server of Node that has its sockets, and that with it', async () => {
    const web = createHttpServer((_request, response) => response.end());
    const events: string[] = [];
    for (const event of ['listening', 'close']) web.on(event, () => events.push(event));
    const [one, two] = [pair.server.bind('one', web), pair.server.bind('two', web)];
    await once(two, 'listening');
    const closed = Promise.all([once(one, 'close'), once(two, 'close')]);
    expect(await new Promise((resolve) => web.close(resolve))).toBeUndefined();
    await closed;
    expect([one.listening, two.listening, events]).toEqual([false, false, ['listening', 'close']]);

    const again = pair.server.bind('one', web);
    await once(again, 'listening');
    const ended = once(web, 'close');
    again.close();
    await ended;
  });

  it('closes on disposal', async () => {
    const server = pair.server.bind('disposed');
    await server[Symbol.asyncDispose]();
    expect(server.listening).toBe(false);
  });

  it('gives its sockets the options it was bound with', async () => {
    const { far } = await socketPair(pair, { allowHalfOpen: true });
    expect(far.allowHalfOpen).toBe(true);
  });
});

describe('an unchanged server of Node', () => {
  it('of node:net gets the sockets as connections', async () => {
    const server = createServer((socket) => socket.end('from net'));
    pair.server.bind('net', server);
    expect(`${await readAll(pair.client.dial('net'))}`).toBe('from net');
  });

  it('of node:http answers requests, one after the other over one socket', async () => {
    const server = createHttpServer((message, response) => response.end(`you asked for ${message.url}`));
    pair.server.bind('web', server);
    const get = async (path: string): Promise<string> => {
      const message = request({ path, createConnection: () => pair.client.dial('web') }).end();
      const [response] = await once(message, 'response');
      return `${await readAll(response)}`;
    };
    expect(await get('/one')).toBe('you asked for /one');
    expect(await get('/two')).toBe('you asked for /two');
  });
});
