// A server of Node that is bound to a node. It does on each carrier what it does when it listens itself.

import { EventEmitter, once } from 'node:events';
import * as http from 'node:http';
import * as net from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Node, Socket } from '../../lib/index.js';
import { kOpenSockets } from '../../lib/mux/hidden.js';
import { CARRIERS, type Carrier } from '../http/carriers.js';
import { readUntil } from '../http/exchange.js';
import { runProgram } from '../support/built-lib.js';
import { within } from '../support/deadline.js';
import { nothingLeft, watchHandles } from '../support/open-handles.js';
import { type NodePair, nodePair } from '../support/socket-pair.js';
import { turn, turnsUntil } from '../support/turns.js';

type Accepted = net.Socket & { server: unknown };
type End = net.Socket | Socket;

function count(server: net.Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.getConnections((error, open) => (error ? reject(error) : resolve(open)));
  });
}

function closed(server: net.Server): Promise<Error | undefined> {
  return within('the callback of close', new Promise((resolve) => server.close(resolve)));
}

/** Destroys an end that was dialled; resolved when the server has none of its sockets left. */
async function gone(server: net.Server, ...ends: End[]): Promise<void> {
  for (const end of ends) end.destroy();
  while ((await count(server)) > 0) await turn();
  // 'close' of the server would be in the next tick.
  await turn();
}

describe.each(CARRIERS)('a server of Node over $name', ({ open }) => {
  let carrier: Carrier;
  beforeEach(async () => {
    watchHandles();
    carrier = await open();
  });
  afterEach(async () => {
    await carrier[Symbol.asyncDispose]();
    await nothingLeft();
  });

  const KINDS: ReadonlyArray<[name: string, make: () => net.Server]> = [
    ['net.Server', () => net.createServer((socket) => socket.on('error', () => {}))],
    ['http.Server', () => http.createServer()],
  ];

  describe.each(KINDS)('a %s', (_name, make) => {
    it('ignores an argument of close that is not a function', async () => {
      const server = make();
      await carrier.serve(server);
      const over = once(server, 'close');
      server.close('no function' as never);
      await within("'close'", over);
    });

    it('emits close once, when it is closed and not when its last socket closes', async () => {
      const server = make();
      let closes = 0;
      server.on('close', () => closes++);
      const place = await carrier.serve(server);
      for (let time = 0; time < 2; time++) {
        const accepted = once(server, 'connection');
        const end = place.connect();
        await accepted;
        await gone(server, end);
        expect(closes).toBe(0);
      }
      expect(await closed(server)).toBeUndefined();
      await turn();
      expect(closes).toBe(1);
    });

    it('is closed by asyncDispose', async () => {
      const server = make();
      await carrier.serve(server);
      let closes = 0;
      server.on('close', () => closes++);
      await within('the disposal', server[Symbol.asyncDispose]());
      expect(closes).toBe(1);
    });

    it('is the property server of its sockets', async () => {
      const server = make();
      const place = await carrier.serve(server);
      const accepted = once(server, 'connection') as Promise<[Accepted]>;
      const end = place.connect();
      expect((await accepted)[0].server).toBe(server);
      await gone(server, end);
    });
  });

  it('waits for a socket whose listeners were all removed, and no longer', async () => {
    const server = net.createServer();
    const place = await carrier.serve(server);
    const accepted = once(server, 'connection');
    const end = place.connect();
    const [taken] = (await accepted) as [net.Socket];
    taken.removeAllListeners();
    taken.on('error', () => {}).resume();
    expect(await count(server)).toBe(1);
    let isClosed = false;
    const over = closed(server).then(() => {
      isClosed = true;
    });
    await turn();
    expect(isClosed).toBe(false);
    end.destroy();
    await over;
    expect(await count(server)).toBe(0);
  });

  it('stops counting the socket of an upgrade at its end, even if the handler has removed all listeners for close', async () => {
    const server = http.createServer();
    server.on('upgrade', (_message, socket: net.Socket) => {
      socket.removeAllListeners('close');
      socket.resume();
      socket.end('HTTP/1.1 101 Switching Protocols\r\n\r\n');
    });
    const place = await carrier.serve(server);
    const end = place.connect();
    end.end('GET / HTTP/1.1\r\nHost: web\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n');
    await readUntil(end, '101 Switching Protocols');
    expect(await closed(server)).toBeUndefined();
    expect(await count(server)).toBe(0);
  });

  it('gives its sockets its highWaterMark, its pauseOnConnect and its allowHalfOpen', async () => {
    const server = net.createServer({ highWaterMark: 100_000, pauseOnConnect: true, allowHalfOpen: true });
    const place = await carrier.serve(server);
    const accepted = once(server, 'connection') as Promise<[Accepted]>;
    const end = place.connect();
    const [socket] = await accepted;
    expect(socket).toMatchObject({
      readableHighWaterMark: 100_000,
      writableHighWaterMark: 100_000,
      allowHalfOpen: true,
      readableFlowing: false,
      server,
    });
    expect(socket.isPaused()).toBe(true);
    end.write('hello');
    // What goes the same way later has come.
    const later = once(server, 'connection') as Promise<[Accepted]>;
    const other = place.connect();
    const [half] = await later;
    await turn();
    expect(socket.bytesRead).toBe(0);
    const [chunk] = await within('the data', once(socket.resume(), 'data'));
    expect([String(chunk), socket.bytesRead]).toEqual(['hello', 5]);
    socket.destroy();
    half.destroy();
    await gone(server, end, other);
  });

  it('gives its sockets the defaults of net.Server otherwise', async () => {
    const server = net.createServer();
    const place = await carrier.serve(server);
    const accepted = once(server, 'connection') as Promise<[Accepted]>;
    const end = place.connect();
    const [socket] = await accepted;
    const { readableHighWaterMark, allowHalfOpen, readableFlowing } = socket;
    const plain = new net.Socket();
    expect({ readableHighWaterMark, allowHalfOpen, readableFlowing }).toEqual({
      readableHighWaterMark: plain.readableHighWaterMark,
      allowHalfOpen: false,
      readableFlowing: null,
    });
    await gone(server, end);
  });
});

describe('a server of Node that is bound', () => {
  let pair: NodePair;
  beforeEach(async () => {
    watchHandles();
    pair = await nodePair();
  });
  afterEach(async () => {
    await pair[Symbol.asyncDispose]();
    await nothingLeft();
  });

  async function dialled(name: string, server: net.Server): Promise<Socket> {
    const accepted = once(server, 'connection');
    const socket = pair.client.dial(name).on('error', () => {});
    await Promise.all([accepted, once(socket, 'connect')]);
    return socket;
  }

  it('counts the sockets of all its names, and those that it accepts itself, up to its maxConnections', async () => {
    const server = net.createServer((socket) => socket.on('error', () => {}));
    server.maxConnections = 3;
    pair.server.bind('one', server);
    pair.server.bind('two', server);
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const { port } = server.address() as net.AddressInfo;
    const accepted = once(server, 'connection');
    const own = net.connect(port, '127.0.0.1').on('error', () => {});
    await accepted;
    const first = await dialled('one', server);
    const second = await dialled('two', server);
    expect(await count(server)).toBe(3);
    const dropped = once(server, 'drop');
    const [error] = await once(pair.client.dial('one'), 'error');
    expect(error).toMatchObject({ code: 'ECONNREFUSED' });
    expect((await dropped)[0]).toMatchObject({ remoteAddress: `@${pair.client.id}` });

    const ended = once(own, 'close');
    own.destroy();
    await ended;
    while ((await count(server)) === 3) await turn();
    const third = await dialled('one', server);
    for (const socket of [first, second, third]) socket.destroy();
    await closed(server);
  });

  it('obeys the maxConnections of the bind as well', async () => {
    const server = net.createServer((socket) => socket.on('error', () => {}));
    server.maxConnections = 2;
    pair.server.bind('one', { maxConnections: 1 }, server);
    pair.server.bind('two', server);
    const sockets = [await dialled('one', server)];
    expect(await once(pair.client.dial('one'), 'error')).toMatchObject([{ code: 'ECONNREFUSED' }]);
    sockets.push(await dialled('two', server));
    for (const socket of sockets) socket.destroy();
    await closed(server);
  });

  it('is unbound by a close in the same turn', async () => {
    const server = http.createServer();
    const bound = pair.server.bind('web', server);
    const seen: string[] = [];
    for (const name of ['listening', 'close']) server.on(name, () => seen.push(name));
    expect(await closed(server)).toBeUndefined();
    expect([bound.listening, pair.server.services()]).toEqual([false, []]);
    await turn();
    expect(seen).toEqual(['close']);
  });

  it('emits listening once for all names, also when they are bound in one turn, and again after close', async () => {
    const server = http.createServer();
    const seen: string[] = [];
    for (const name of ['listening', 'close']) server.on(name, () => seen.push(name));
    for (let time = 0; time < 2; time++) {
      const bound = [pair.server.bind('one', server), pair.server.bind('two', server)];
      await once(bound[1], 'listening');
      await closed(server);
    }
    expect(seen).toEqual(['listening', 'close', 'listening', 'close']);
  });

  it('stays open when one of its names is unbound, and closes with the last', async () => {
    const server = net.createServer((socket) => socket.end('hello'));
    const [one, two] = [pair.server.bind('one', server), pair.server.bind('two', server)];
    let closes = 0;
    server.on('close', () => closes++);
    await new Promise<void>((resolve) => one.close(() => resolve()));
    (await dialled('two', server)).resume();
    await turnsUntil('the socket has closed', () => two[kOpenSockets] === 0);
    await turn();
    expect(closes).toBe(0);
    const over = once(server, 'close');
    two.close();
    await over;
    expect(closes).toBe(1);
  });

  it('prefers the options of the bind to its own', async () => {
    const server = net.createServer({ pauseOnConnect: true, highWaterMark: 1000, allowHalfOpen: true });
    pair.server.bind('one', { pauseOnConnect: false, highWaterMark: 2000, allowHalfOpen: false }, server);
    const accepted = once(server, 'connection') as Promise<[net.Socket]>;
    const near = pair.client.dial('one').on('error', () => {});
    const [far] = await accepted;
    expect([far.isPaused(), far.readableHighWaterMark, far.allowHalfOpen]).toEqual([false, 2000, false]);
    near.destroy();
    await closed(server);
  });
});

describe('the sockets of a bind', () => {
  let pair: NodePair;
  beforeEach(async () => {
    pair = await nodePair();
  });
  afterEach(async () => {
    await pair[Symbol.asyncDispose]();
  });

  it('have the server that bind has returned, without a server of Node; dialled sockets have none', async () => {
    for (const handler of [undefined, () => {}, new EventEmitter()]) {
      const server = pair.server.bind('named', handler);
      const accepted = once(server, 'connection') as Promise<[Socket]>;
      const near = pair.client.dial('named').on('error', () => {});
      const [far] = await accepted;
      expect([far.server, near.server]).toEqual([server, null]);
      near.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    }
  });

  it('are paused from the start with pauseOnConnect', async () => {
    const server = pair.server.bind('paused', { pauseOnConnect: true });
    const accepted = once(server, 'connection') as Promise<[Socket]>;
    const near = pair.client.dial('paused').on('error', () => {});
    near.write('hello');
    const [far] = await accepted;
    await turn();
    expect([far.isPaused(), far.bytesRead, far.readableLength]).toEqual([true, 0, 0]);
    expect(String((await once(far.resume(), 'data'))[0])).toBe('hello');
    near.destroy();
  });

  it('that are not read keep no more than a window, and return the credit when they are read', async () => {
    const server = pair.server.bind('paused', { pauseOnConnect: true });
    const accepted = once(server, 'connection') as Promise<[Socket]>;
    const near = pair.client.dial('paused').on('error', () => {});
    const whole = Buffer.alloc(8 * 1024 * 1024, 7);
    near.end(whole);
    const [far] = await accepted;
    for (let turns = 0; turns < 50; turns++) await turn();
    expect(near.writableLength).toBeGreaterThan(0);
    let bytes = 0;
    for await (const chunk of far) bytes += (chunk as Buffer).length;
    expect(bytes).toBe(whole.length);
  });
});

describe('a bind of what is taken', () => {
  let node: Node;
  let pair: NodePair;
  beforeEach(async () => {
    pair = await nodePair();
    node = pair.server;
    node.bind('taken');
  });
  afterEach(async () => {
    await pair[Symbol.asyncDispose]();
  });

  it.each([
    ['a net.Server', () => net.createServer()],
    ['an http.Server', () => http.createServer()],
    ['any other emitter', () => new EventEmitter()],
  ])('is an error of %s that is to take the sockets, as of one that listens itself', async (_what, make) => {
    const handler = make();
    const failed = once(handler, 'error');
    const server = node.bind('taken', handler);
    expect(await failed).toMatchObject([{ code: 'EADDRINUSE', syscall: 'listen', address: 'taken' }]);
    expect(server.listening).toBe(false);
    if (handler instanceof net.Server) expect(await closed(handler)).toMatchObject({ code: 'ERR_SERVER_NOT_RUNNING' });
  });

  it('ends the process when nothing listens for it, as for a server that listens itself', async () => {
    const child = runProgram(`
      process.on('uncaughtException', ({ code, syscall, address }) => {
        say({ code, syscall, address });
        process.exit(1);
      });
      const { createServer } = await import('node:http');
      const node = starlane.createNode();
      node.bind('taken');
      node.bind('taken', createServer());`);
    expect(await within('the end of the process', child.exited)).toBe(1);
    expect(child.lines).toEqual([{ code: 'EADDRINUSE', syscall: 'listen', address: 'taken' }]);
  });

  it('is emitted on the server only, when it has a listener', async () => {
    const errors: string[] = [];
    const handler = net.createServer().on('error', () => errors.push('handler'));
    node.on('error', () => errors.push('node'));
    node.bind('taken', handler).on('error', () => errors.push('server'));
    await turn();
    expect(errors).toEqual(['server']);
  });
});
