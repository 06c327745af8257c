// socket.io, its server on an http.Server that is bound by name: its client with the option `agent`, and unchanged under the
// preload.

import { randomBytes } from 'node:crypto';
import type { EventEmitter } from 'node:events';
import { type Agent, createServer } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Server } from 'socket.io';
import { io, type ManagerOptions, type Socket, type SocketOptions } from 'socket.io-client';
import { agent } from '../../lib/http/index.js';
import type { Node } from '../../lib/index.js';
import { within } from '../support/deadline.js';
import { emitted } from './emitted.js';
import { linkedNodes } from './linked-nodes.js';
import { SCRIPT_SPEC_MS, scriptNetwork, WAYS } from './script-network.js';

const MIB = 1024 * 1024;

/** How a client starts, and how it goes on. */
const TRANSPORTS = [
  ['polling', ['polling'], 'polling'],
  ['WebSocket', ['websocket'], 'websocket'],
  ['polling and an upgrade to WebSocket', ['polling', 'websocket'], 'websocket'],
] as const;

/** Answers 'echo', joins rooms, and passes on what is for a room. */
function serve(node: Node): Server {
  const http = createServer((_request, response) => response.writeHead(404).end());
  const server = new Server(http, { maxHttpBufferSize: 4 * MIB });
  server.on('connection', (socket) => {
    socket.on('echo', (value, done) => done(value));
    socket.on('join', async (room, done) => {
      await socket.join(room);
      done();
    });
    socket.on('publish', (room, text) => server.to(room).emit('published', text));
  });
  let open = 0;
  node.bind('rooms', http).on('connection', (socket) => {
    open++;
    // After what others do when it closes.
    socket.once('close', () => setImmediate(() => --open === 0 && http.emit('last socket')));
  });
  return server;
}

const SCRIPT = `
  for (const transports of [['polling'], ['websocket'], ['polling', 'websocket']]) {
    const socket = io('http://rooms.starlane', { transports, timeout: 5000, reconnection: false });
    const lost = new Promise((_, reject) => {
      socket.once('connect_error', reject);
      socket.once('disconnect', (reason) => reject(new Error(reason)));
    });
    lost.catch(() => {});
    await Promise.race([lost, new Promise((resolve) => socket.once('connect', resolve))]);
    const { engine } = socket.io;
    if (transports.length === 2 && engine.transport.name === 'polling') {
      await Promise.race([lost, new Promise((resolve) => engine.once('upgrade', resolve))]);
    }
    const answers = [];
    for (const value of ['text', Buffer.alloc(1_000_000)]) {
      answers.push(await Promise.race([lost, socket.emitWithAck('echo', value)]));
    }
    say({ transport: engine.transport.name, text: answers[0], bytes: answers[1].length });
    const closed = new Promise((resolve) => engine.once('close', resolve));
    socket.close();
    await closed;
  }`;

const HEADERS = {
  module: `import { io } from 'socket.io-client';`,
  commonjs: `const { io } = require('socket.io-client');`,
};

describe('socket.io with the option agent', () => {
  const nodes = linkedNodes();
  let server: Server;
  let closed: Promise<never>;
  let agents: Agent[];
  beforeEach(() => {
    agents = [];
    server = serve(nodes.listener);
    closed = emitted(server.httpServer as EventEmitter as never, 'close').then(() => {
      throw new Error('the server has closed');
    });
    closed.catch(() => {}); // In the end it does.
    nodes.finally(() => server.close());
  });

  /** What is waited for, or an error when the server has closed. */
  function unlessClosed<T>(wait: Promise<T>): Promise<T> {
    return Promise.race([closed, wait]);
  }

  function client(options: Partial<ManagerOptions & SocketOptions> = {}, service = 'rooms', keepAlive = true): Socket {
    const httpAgent = agent(nodes.joiner, { keepAlive });
    agents.push(httpAgent);
    const socket = io(`http://${service}`, {
      // Declared as browsers have it.
      agent: httpAgent as unknown as boolean,
      forceNew: true,
      reconnectionDelay: 1,
      reconnectionDelayMax: 20,
      ...options,
    });
    nodes.finally(() => httpAgent.destroy());
    nodes.finally(() => socket.close());
    return socket;
  }

  async function connected(options: Partial<ManagerOptions & SocketOptions>, keepAlive?: boolean): Promise<Socket> {
    const socket = client(options, 'rooms', keepAlive);
    await within('the connection', emitted(socket, 'connect'));
    return socket;
  }

  function transportOf(socket: Socket): string {
    return socket.io.engine.transport.name;
  }

  async function upgraded(socket: Socket): Promise<void> {
    if (transportOf(socket) === 'polling') await within('the upgrade', emitted(socket.io.engine, 'upgrade'));
  }

  describe.each(TRANSPORTS)('over %s', (_name, transports, last) => {
    const options = { transports: [...transports] };

    async function ready(keepAlive?: boolean): Promise<Socket> {
      const socket = await connected(options, keepAlive);
      if (last !== transports[0]) await upgraded(socket);
      expect(transportOf(socket)).toBe(last);
      return socket;
    }

    it('answers with texts, objects and bytes', async () => {
      const socket = await ready();
      for (const value of ['grüße', { deep: [{ number: 1 }] }, { of: { bytes: randomBytes(10) } }]) {
        expect(await within('the answer', socket.emitWithAck('echo', value))).toEqual(value);
      }
      const bytes = randomBytes(MIB);
      expect(bytes.equals(await within('the answer', socket.emitWithAck('echo', bytes)))).toBe(true);
    });

    it('keeps the order of 1,000 messages, those on the way during an upgrade included', async () => {
      const socket = await connected(options);
      const numbers = Array.from({ length: 1000 }, (_, number) => number);
      const answered: number[] = [];
      const all = numbers.map(async (number) => answered.push(await socket.emitWithAck('echo', number)));
      await within('the answers', Promise.all(all));
      expect(answered).toEqual(numbers);
      if (last !== transports[0]) await upgraded(socket);
      expect(transportOf(socket)).toBe(last);
    });

    it('sends to the clients in a room, and to no others', async () => {
      const [inside, too, outside] = [await ready(), await ready(), await ready()];
      let received = 0;
      outside.on('published', () => received++);
      for (const socket of [inside, too]) await within('joining', socket.emitWithAck('join', 'kitchen'));
      const published = [emitted(inside, 'published'), emitted(too, 'published')];
      outside.emit('publish', 'kitchen', 'dinner');
      expect(await within('the messages', Promise.all(published))).toEqual(['dinner', 'dinner']);
      await within('an answer', outside.emitWithAck('echo', ''));
      expect(received).toBe(0);
    });

    it('notifies the server when a client has gone', async () => {
      const accepted = emitted<Socket>(server as never, 'connection');
      const socket = await ready();
      const far = await within('the connection', accepted);
      const gone = emitted<string>(far, 'disconnect');
      socket.close();
      expect(await within('the end', gone)).toBe('client namespace disconnect');
    });

    // A bound http.Server emits 'close' whenever its last connection ends, and socket.io closes with it.
    it('connects again over a link that was lost', async () => {
      // Without idle sockets in the agent: a request of polling on one that has ended is repeated, but never sent.
      const socket = await unlessClosed(ready(false));
      const id = socket.id;
      const lost = emitted(socket, 'disconnect');
      const again = emitted(socket, 'connect');
      nodes.cut();
      await within('the end of the connection', unlessClosed(lost));
      await within('the new connection', unlessClosed(again));
      if (last !== transports[0]) await unlessClosed(upgraded(socket));
      expect(transportOf(socket)).toBe(last);
      expect(socket.id).not.toBe(id);
      expect(await within('the answer', unlessClosed(socket.emitWithAck('echo', 'again')))).toBe('again');
    });

    it('serves the next client when the last one has gone', async () => {
      for (let count = 0; count < 3; count++) {
        // A client that polls makes a request after its agent is destroyed. Over TCP as well that leaves a connection for the next one.
        const socket = await unlessClosed(ready(last === 'websocket'));
        const noSocket = emitted(server.httpServer as EventEmitter as never, 'last socket');
        const gone = new Promise((resolve) =>
          server.sockets.sockets.values().next().value?.once('disconnect', resolve),
        );
        socket.close();
        // Polling says so by a request, whose connection stays for the next one.
        await within('the end at the server', gone);
        agents.at(-1)?.destroy();
        await within('the end of all sockets', unlessClosed(noSocket));
      }
    });
  });

  it('gets an error for a service that does not exist', async () => {
    const httpAgent = agent(nodes.joiner, { dial: { timeoutMs: 20 } });
    nodes.finally(() => httpAgent.destroy());
    const options = { agent: httpAgent as unknown as boolean, transports: ['websocket'], reconnection: false };
    const failed = emitted(client(options, 'nowhere'), 'connect_error');
    expect(await within('the refusal', failed)).toMatchObject({ description: { error: { code: 'ENOTFOUND' } } });
  });
});

describe.each(WAYS)('socket.io under the preload, %s', (way) => {
  const network = scriptNetwork(way);
  let server: Server;
  beforeEach(() => {
    server = serve(network.server);
  });
  afterEach(() => server.close());

  // Without an agent every polling request has a separate connection, so that each one is the last.
  it.each(['module', 'commonjs'] as const)(
    'reaches a server by name, in three ways (%s)',
    async (kind) => {
      const lines = await network.run(kind, `${HEADERS[kind]}\n(async () => {${SCRIPT}})();`);
      expect(lines).toEqual(
        TRANSPORTS.map(([_name, _transports, transport]) => ({ transport, text: 'text', bytes: 1_000_000 })),
      );
    },
    SCRIPT_SPEC_MS,
  );
});
