// A nats-server of the system, and its own client for Node.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pause } from '../../deadline.mjs';

/** Flushes that are under way at a time, and messages between two: what is fastest with this client. */
const FLUSHES = 4;
const MESSAGES_PER_FLUSH = 1_000;

/** Returns whether the program is there. */
export function isAvailable() {
  return spawnSync('nats-server', ['--version']).status === 0;
}

/** Starts the server. It may keep more for a slow subscriber than by default, or it would end its connection. */
export async function startBroker() {
  const folder = mkdtempSync(join(tmpdir(), 'starlane-bench-'));
  const port = await freePort();
  const file = join(folder, 'nats.conf');
  writeFileSync(file, `listen: "127.0.0.1:${port}"\nmax_pending: 1GB\nwrite_deadline: "60s"\nmax_payload: 8MB\n`);
  const child = spawn('nats-server', ['-c', file], { stdio: 'ignore' });
  const exited = once(child, 'exit');
  for (let attempt = 0; !(await answers(port)); attempt++) {
    if (attempt === 200) throw new Error('nats-server does not listen');
    await pause(50);
  }
  return {
    address: `127.0.0.1:${port}`,
    pid: /** @type {number} */ (child.pid),
    async stop() {
      child.kill('SIGTERM');
      await exited;
      rmSync(folder, { recursive: true });
    },
  };
}

/**
 * @param {string | undefined} hub
 * @returns {Promise<import('../case.mjs').Bus>}
 */
export async function open(hub) {
  const { connect } = await import('@nats-io/transport-node');
  const connection = await connect({ servers: hub, noAsyncTraces: true });
  return {
    address: hub,
    subscribe(topic, onData, { queue } = {}) {
      connection.subscribe(topic, { queue, callback: (_error, message) => onData(message.data) });
    },
    // A subscription is known once a later ping is answered; the harness has done that for the subscribers.
    ready: () => connection.flush(),
    async pump(topic, data, count) {
      /** @type {Array<Promise<void>>} */
      const flushes = [];
      for (let index = 1; index <= count; index++) {
        connection.publish(topic, data);
        if (index % MESSAGES_PER_FLUSH !== 0) continue;
        flushes.push(connection.flush());
        if (flushes.length === FLUSHES) await flushes.shift();
      }
      await connection.flush();
    },
    send: (topic, data) => connection.publish(topic, data),
    answer(topic, handler) {
      connection.subscribe(topic, { callback: (_error, message) => message.respond(handler(message.data)) });
    },
    request: async (topic, data) => (await connection.request(topic, data, { timeout: 30_000 })).data,
    flush: () => connection.flush(),
    close: () => connection.close(),
  };
}

/** @returns {Promise<number>} */
async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = /** @type {net.AddressInfo} */ (server.address());
  server.close();
  await once(server, 'close');
  return port;
}

/** @param {number} port */
async function answers(port) {
  const socket = net.connect(port, '127.0.0.1');
  socket.on('error', () => {});
  const isUp = await Promise.race([
    once(socket, 'connect').then(
      () => true,
      () => false,
    ),
    once(socket, 'close').then(() => false),
  ]);
  socket.destroy();
  return isUp;
}
