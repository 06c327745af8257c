// node-redis against a real Redis. It makes its connections itself, so a program that cannot be changed goes through a local
// port; with TLS it hands its options to `tls.connect`, and a dialled socket is one of them.

import { randomBytes } from 'node:crypto';
import net from 'node:net';
import { pipeline } from 'node:stream';
import tls from 'node:tls';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createClient, type RedisClientOptions } from 'redis';
import { certificateFor } from '../support/certificates.js';
import { within } from '../support/deadline.js';
import { emitted } from './emitted.js';
import { linkedNodes } from './linked-nodes.js';
import { type Forwarder, forward, publish } from './publish.js';
import { REDIS, type RedisServer, startRedis } from './redis-server.js';
import { describeWithPrograms } from './server-program.js';

const MIB = 1024 * 1024;

function makeClient(socket: RedisClientOptions['socket']) {
  return createClient({ socket, RESP: 2 });
}

type Client = ReturnType<typeof makeClient>;

describeWithPrograms('node-redis', REDIS, () => {
  const nodes = linkedNodes();
  let server: RedisServer;
  beforeAll(async () => {
    server = await startRedis();
  }, 90_000);
  afterAll(() => server.stop());

  async function connected(socket: RedisClientOptions['socket']): Promise<Client> {
    const client = makeClient(socket);
    client.on('error', () => {}); // Specs look at what commands answer and at the states of the client.
    nodes.finally(() => {
      if (client.isOpen) client.destroy();
    });
    await within('connect', client.connect());
    return client;
  }

  describe('through a local port', () => {
    let forwarder: Forwarder;
    beforeEach(async () => {
      publish(nodes.listener, 'redis', { path: server.path });
      forwarder = await forward(nodes.joiner, 'redis');
      nodes.finally(() => forwarder.close());
    });

    function open(): Promise<Client> {
      const { host, port } = forwarder;
      return connected({ host, port, reconnectStrategy: () => 10 });
    }

    it('answers 10,000 commands of one turn in order', async () => {
      const client = await open();
      await within('del', client.del('counter'));
      const commands = Array.from({ length: 10_000 }, () => client.incr('counter'));
      expect(await within('the answers', Promise.all(commands))).toEqual(commands.map((_, count) => count + 1));
    });

    it('runs a transaction', async () => {
      const client = await open();
      const answers = await within('the transaction', client.multi().set('key', 'value').get('key').exec());
      expect(answers).toEqual(['OK', 'value']);
    });

    it('receives on one socket what is published on another', async () => {
      const [subscriber, publisher] = [await open(), await open()];
      const received: string[] = [];
      let onAll: () => void;
      const all = new Promise<void>((resolve) => {
        onAll = resolve;
      });
      await within(
        'the subscription',
        subscriber.subscribe('news', (message) => {
          if (received.push(message) === 1000) onAll();
        }),
      );
      const messages = Array.from({ length: 1000 }, (_, count) => `message ${count}`);
      await within('publishing', Promise.all(messages.map((message) => publisher.publish('news', message))));
      await within('the messages', all);
      expect(received).toEqual(messages);
    });

    it('waits in a blocking command while another socket works', async () => {
      const [waiting, working] = [await open(), await open()];
      await within('an empty list', working.del('jobs'));
      const job = waiting.blPop('jobs', 0);
      await within('the wait of the server', blocked(working));
      await within('the push', working.rPush('jobs', 'job 1'));
      expect(await within('the job', job)).toEqual({ key: 'jobs', element: 'job 1' });
    });

    it('carries values of 10 MiB both ways', async () => {
      const client = await open();
      const value = randomBytes(5 * MIB).toString('hex');
      await within('set', client.set('large', value));
      expect((await within('get', client.get('large'))) === value).toBe(true);
      await within('del', client.del('large'));
    });

    it('reconnects when the server drops it', async () => {
      const [client, other] = [await open(), await open()];
      const id = await within('id', client.clientId());
      const ready = emitted(client, 'ready');
      await within('kill', other.clientKill({ filter: 'ID', id }));
      await within('the new connection', ready);
      expect(await within('the new id', client.clientId())).not.toBe(id);
    });

    it('reconnects after a lost link', async () => {
      const client = await open();
      const ready = emitted(client, 'ready');
      nodes.cut();
      await within('the new connection', ready);
      expect(await within('ping', client.ping())).toBe('PONG');
    });
  });

  describe('with TLS', () => {
    beforeEach(async () => {
      const terminator = tls.createServer(await certificateFor('redis-tls'), (socket) => {
        const redis = net.connect({ path: server.path });
        for (const end of [socket, redis]) end.on('error', () => {});
        pipeline(socket, redis, () => {});
        pipeline(redis, socket, () => {});
      });
      nodes.listener.bind('redis-tls', terminator);
    });

    async function open(): Promise<Client> {
      const { cert: ca } = await certificateFor('redis-tls');
      const socket = nodes.joiner.dial('redis-tls');
      return connected({ tls: true, socket, ca, servername: 'redis-tls', reconnectStrategy: false });
    }

    it('takes a dialled socket', async () => {
      const client = await open();
      const value = randomBytes(MIB).toString('hex');
      expect(await within('set', client.set('large', value))).toBe('OK');
      expect((await within('get', client.get('large'))) === value).toBe(true);
      expect(await within('del', client.del('large'))).toBe(1);
      await within('close', client.close());
    });

    it('fails when the link is lost', async () => {
      const client = await open();
      const job = client.blPop('jobs', 0);
      const failed = emitted<Error>(client, 'error');
      const refused = expect(within('the job', job)).rejects.toThrow();
      nodes.cut();
      expect(await within('the error', failed)).toMatchObject({ code: 'ECONNRESET' });
      await refused;
    });
  });

  /** Resolved when a client waits in a blocking command. */
  async function blocked(client: Client): Promise<void> {
    while (!(await client.info('clients')).includes('blocked_clients:1')) await client.ping();
  }
});
