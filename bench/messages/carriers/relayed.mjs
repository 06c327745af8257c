// As commands, but through a relay in a process of its own: as many processes as with a broker.

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { createNode } from '../../../dist/index.js';
import { callsOf } from './commands.mjs';

const START_MS = 30_000;

/** Starts the relay. */
export async function startBroker() {
  const child = fork(fileURLToPath(new URL('../relay.mjs', import.meta.url)));
  const exited = once(child, 'exit');
  const [address] = await once(child, 'message', { signal: AbortSignal.timeout(START_MS) });
  return {
    address: /** @type {string} */ (address),
    pid: /** @type {number} */ (child.pid),
    async stop() {
      child.disconnect();
      await exited;
    },
  };
}

/**
 * @param {string} relay its address
 * @returns {Promise<any>}
 */
export async function open(relay) {
  // A server has only the links that it is given: all goes through the relay.
  const node = createNode({ role: 'server' });
  await node.join(relay);
  return callsOf(node, relay);
}
