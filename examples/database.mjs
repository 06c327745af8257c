// Redis listens on one machine only, at a unix socket. A node there offers it as a service, and ioredis uses it from another node.
// Other clients: pg takes `stream: () => new node.net.Socket()`, mysql2 `stream: () => node.dial('mariadb')` (docs/drop-in.md).
//
//   npm install starlane ioredis      and the program redis-server
//   node examples/database.mjs

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pipeline } from 'node:stream';
import { AbstractConnector, Redis } from 'ioredis';
import { createNode } from 'starlane';

const folder = mkdtempSync(join(tmpdir(), 'starlane-redis-'));
const path = join(folder, 'redis.sock');
const redis = spawn('redis-server', ['--port', '0', '--unixsocket', path, '--save', '', '--dir', folder]);
await once(redis, 'spawn'); // Rejects with ENOENT where the program is missing.
for await (const line of createInterface(redis.stdout)) if (/ready to accept/i.test(line)) break;

// The machine of the database. (`starlane publish redis --unix PATH` does the same without a program.)
const near = createNode();
const { address } = await near.listenAndServe('tcp://127.0.0.1:0');
near.bind('redis', { allowHalfOpen: true }, (socket) => {
  const upstream = net.connect({ path, allowHalfOpen: true });
  // pipeline ends both ways when one breaks: nothing more to do about the error.
  pipeline(socket, upstream, socket, () => {});
});

// The machine of the application.
const far = createNode({ seeds: [address] });

class ServiceConnector extends AbstractConnector {
  constructor({ disconnectTimeout }) {
    super(disconnectTimeout);
  }

  async connect() {
    this.connecting = true;
    this.stream = far.dial('redis');
    return this.stream;
  }
}

const client = new Redis({ Connector: ServiceConnector });
client.on('error', (error) => console.error(error.message)); // It connects again by itself.
await client.rpush('planets', 'Mercury', 'Venus', 'Earth');
console.log(await client.lrange('planets', 0, -1));
console.log('port of Redis:', (await client.config('GET', 'port'))[1]);

await client.quit();
for (const node of [far, near]) await node.close();
redis.kill();
await once(redis, 'close');
rmSync(folder, { recursive: true });
