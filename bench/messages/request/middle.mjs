// Processes that stand between the two ends of a run.

import { fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import { pause, within } from '../../deadline.mjs';

const START_MS = 10_000;
const RETRY_MS = 20;

/**
 * Starts a module that sends its address.
 *
 * @param {URL} module
 * @returns {Promise<import('./carriers/carrier.mjs').Program>}
 */
export async function startProcess(module) {
  const child = fork(module);
  const [address] = await within(once(child, 'message'), START_MS, 'the start of the relay');
  return { address, stop: () => end(child) };
}

/**
 * Starts a NATS server at a free port.
 *
 * @param {string} path
 * @returns {Promise<import('./carriers/carrier.mjs').Program>}
 */
export async function startServer(path) {
  const port = await freePort();
  const child = spawn(path, ['-a', '127.0.0.1', '-p', String(port)], { stdio: 'ignore' });
  await within(answers(port), START_MS, 'the start of nats-server');
  return { address: port, stop: () => end(child) };
}

/** @param {import('node:child_process').ChildProcess} child */
async function end(child) {
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

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
  for (;;) {
    const socket = net.connect(port, '127.0.0.1');
    const isUp = await new Promise((resolve) => {
      socket.once('connect', () => resolve(true));
      socket.once('error', () => resolve(false));
    });
    socket.destroy();
    if (isUp) return;
    await pause(RETRY_MS);
  }
}
