// ioredis with a connector of ours, its documented option for other transports, against a real Redis.

import { createHash, randomBytes } from 'node:crypto';
import type { Socket as NetSocket } from 'node:net';
import { afterAll, beforeAll, beforeEach, expect, it } from '@jest/globals';
import { AbstractConnector, Redis, type RedisOptions } from 'ioredis';
import type { DialOptions, Server } from '../../lib/index.js';
import { kOpenSockets } from '../../lib/mux/hidden.js';
import { within } from '../support/deadline.js';
import { emitted } from './emitted.js';
import { linkedNodes } from './linked-nodes.js';
import { publish } from './publish.js';
import { REDIS, type RedisServer, startRedis } from './redis-server.js';
import { describeWithPrograms } from './server-program.js';

const MIB = 1024 * 1024;

function digest(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Resolved when a client waits in a blocking command. */
async function blocked(redis: Redis): Promise<void> {
  while (!(await redis.info('clients')).includes('blocked_clients:1')) await redis.ping();
}

describeWithPrograms('ioredis', REDIS, () => {
  const nodes = linkedNodes();
  let server: RedisServer;
  let published: Server;
  beforeAll(async () => {
    server = await startRedis();
  }, 90_000);
  afterAll(() => server.stop());
  beforeEach(() => {
    published = publish(nodes.listener, 'redis', { path: server.path });
  });

  /** A client whose every connection is dialled. */
  function client(options: RedisOptions = {}, service = 'redis', dialOptions?: DialOptions): Redis {
    class DialConnector extends AbstractConnector {
      constructor() {
        super(1000);
      }

      override async connect(): Promise<NetSocket> {
        this.connecting = true;
        this.stream = nodes.netDial(service, dialOptions);
        return this.stream as NetSocket;
      }
    }
    const redis = new Redis({ Connector: DialConnector, retryStrategy: () => 10, ...options });
    redis.on('error', () => {}); // Specs look at what commands answer and at the states of the client.
    nodes.finally(() => {
      if (redis.status !== 'end') redis.disconnect();
    });
    return redis;
  }

  it('answers a pipeline of 10,000 commands in order', async () => {
    const redis = client();
    const pipeline = redis.pipeline().del('counter');
    for (let count = 0; count < 10_000; count++) pipeline.incr('counter');
    const answers = await within('the pipeline', pipeline.exec());
    expect(answers?.slice(1)).toEqual(Array.from({ length: 10_000 }, (_, count) => [null, count + 1]));
  });

  it('runs a transaction', async () => {
    const redis = client();
    const answers = await within('the transaction', redis.multi().set('key', 'value').get('key').exec());
    expect(answers).toEqual([
      [null, 'OK'],
      [null, 'value'],
    ]);
  });

  it('receives on one socket what is published on another', async () => {
    const [subscriber, publisher] = [client(), client()];
    const received: string[] = [];
    const all = new Promise<void>((resolve) => {
      subscriber.on('message', (_channel: string, message: string) => {
        if (received.push(message) === 1000) resolve();
      });
    });
    await within('the subscription', subscriber.subscribe('news'));
    const messages = Array.from({ length: 1000 }, (_, count) => `message ${count}`);
    await within('publishing', Promise.all(messages.map((message) => publisher.publish('news', message))));
    await within('the messages', all);
    expect(received).toEqual(messages);
  });

  it('waits in a blocking command while another socket works', async () => {
    const [waiting, working] = [client(), client()];
    await within('an empty list', working.del('jobs'));
    const job = waiting.blpop('jobs', 0);
    await within('the wait of the server', blocked(working));
    await within('the push', working.rpush('jobs', 'job 1'));
    expect(await within('the job', job)).toEqual(['jobs', 'job 1']);
  });

  it('carries values of 10 MiB both ways', async () => {
    const redis = client();
    const value = randomBytes(10 * MIB);
    await within('set', redis.set('large', value));
    const back = await within('get', redis.getBuffer('large'));
    expect(digest(back ?? Buffer.alloc(0))).toBe(digest(value));
    await within('del', redis.del('large'));
  });

  it('reconnects when the server drops it, and answers commands sent meanwhile', async () => {
    const [redis, other] = [client(), client()];
    const id = await within('id', redis.client('ID'));
    const lost = emitted(redis, 'close');
    await within('kill', other.client('KILL', 'ID', id));
    await within('the end of the connection', lost);
    expect(await within('an answer', redis.ping())).toBe('PONG');
    expect(await within('the new id', redis.client('ID'))).not.toBe(id);
  });

  it('reconnects after a lost link, and repeats its blocking command', async () => {
    const redis = client();
    await within('an empty list', redis.del('jobs'));
    const job = redis.blpop('jobs', 0);
    await within('the wait of the server', blocked(client()));
    const lost = emitted(redis, 'close');
    nodes.cut();
    await within('the end of the connection', lost);
    await within('the new connection', emitted(redis, 'ready'));
    await within('the push', client().rpush('jobs', 'job 2'));
    expect(await within('the job', job)).toEqual(['jobs', 'job 2']);
  });

  it('leaves no socket behind when it quits', async () => {
    const redis = client();
    await within('ping', redis.ping());
    expect(published[kOpenSockets]).toBe(1);
    const allClosed = emitted(published.close(), 'close');
    const ended = emitted(redis, 'end');
    await within('quit', redis.quit());
    await within('the end', ended);
    await within('the last socket', allClosed);
  });

  it('gets an error for a service that does not exist', async () => {
    const redis = client({ retryStrategy: () => null, lazyConnect: true }, 'nowhere', { timeoutMs: 20 });
    const failed = emitted(redis, 'error');
    await within('the refusal', expect(redis.connect()).rejects.toThrow('Connection is closed'));
    expect(await failed).toMatchObject({ code: 'ENOTFOUND' });
  });
});
