// The basis of the specs of this folder: a server of the system behind a name, and a name behind a local port.

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import { within } from '../support/deadline.js';
import { readToEnd, socketPath } from '../support/testnet.js';
import { emitted } from './emitted.js';
import { linkedNodes } from './linked-nodes.js';
import { forward, publish } from './publish.js';

const MIB = 1024 * 1024;

describe('a published server', () => {
  const nodes = linkedNodes();

  /** Starts and publishes a server of the system. */
  async function serve(onSocket: (socket: net.Socket) => void = () => {}): Promise<net.Server> {
    const server = net.createServer({ allowHalfOpen: true }, (socket) => {
      nodes.finally(() => socket.destroy());
      socket.on('error', () => {});
      onSocket(socket);
    });
    nodes.finally(() => server.close());
    await once(server.listen(0, '127.0.0.1'), 'listening');
    publish(nodes.listener, 'service', { host: '127.0.0.1', port: (server.address() as AddressInfo).port });
    return server;
  }

  const ways: ReadonlyArray<[name: string, connect: () => Promise<Duplex>]> = [
    ['a dialled socket', async () => nodes.joiner.dial('service', { allowHalfOpen: true })],
    [
      'a local port',
      async () => {
        const forwarder = await forward(nodes.joiner, 'service');
        nodes.finally(() => forwarder.close());
        return net.connect({ host: forwarder.host, port: forwarder.port, allowHalfOpen: true });
      },
    ],
  ];

  describe.each(ways)('through %s', (_name, connect) => {
    async function connected(): Promise<Duplex> {
      const socket = await connect();
      nodes.finally(() => socket.destroy());
      return socket.on('error', () => {});
    }

    it('answers a client that has ended', async () => {
      await serve(async (socket) => socket.end(await readToEnd(socket)));
      const socket = await connected();
      const body = randomBytes(4 * MIB);
      const answer = readToEnd(socket);
      socket.end(body);
      expect((await within('the answer', answer)).equals(body)).toBe(true);
    });

    it('receives from a client after it has ended itself', async () => {
      const body = randomBytes(4 * MIB);
      let received: Promise<Buffer> | undefined;
      await serve((socket) => {
        received = readToEnd(socket);
        socket.end('enough');
      });
      const socket = await connected();
      expect(String(await within('the greeting', readToEnd(socket)))).toBe('enough');
      socket.end(body);
      await within('the close', emitted(socket, 'close'));
      expect((await within('the body', received ?? Promise.reject(new Error('no connection')))).equals(body)).toBe(
        true,
      );
    });

    it('is notified when its client is gone', async () => {
      const accepted = emitted<net.Socket>(await serve(), 'connection');
      const socket = await connected();
      const far = await within('the connection', accepted);
      const ended = emitted(far.resume(), 'end');
      far.write('hello');
      await within('the greeting', once(socket, 'data'));
      socket.destroy();
      await within('the end', ended);
    });

    it('is notified of a lost link, as its client is', async () => {
      const accepted = emitted<net.Socket>(await serve(), 'connection');
      const socket = await connected();
      const far = await within('the connection', accepted);
      const errors = [emitted<Error>(far.resume(), 'error'), emitted<Error>(socket.resume(), 'error')];
      far.write('hello');
      await within('the greeting', once(socket, 'data'));
      nodes.cut();
      expect(await within('the errors', Promise.all(errors))).toMatchObject([
        { code: 'ECONNRESET' },
        { code: 'ECONNRESET' },
      ]);
    });

    it('resets its client when it is not running', async () => {
      publish(nodes.listener, 'service', { path: socketPath() });
      const socket = await connected();
      expect(await within('the error', emitted(socket.resume(), 'error'))).toMatchObject({ code: 'ECONNRESET' });
    });
  });
});
