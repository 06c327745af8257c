// Commands of starlane/messages over one TCP link.

import { createNode } from '../../../../dist/index.js';
import { messages } from '../../../../dist/messages/index.js';

const ECHO = 1;
const SERVICE = 'echo';

/**
 * Offers the echo at a node.
 *
 * @param {import('../../../../dist/index.js').Node} node
 */
export function serveEcho(node) {
  messages(node)
    .inbox(SERVICE)
    .onCommand(ECHO, (input) => input, { concurrency: 1_000 });
}

/**
 * What asks the echo, once the node has a way to it.
 *
 * @param {import('../../../../dist/index.js').Node} node
 * @returns {Promise<import('./carrier.mjs').Ask>}
 */
export async function askEcho(node) {
  const post = messages(node);
  await node.waitFor(`${SERVICE}:16`, { timeoutMs: 10_000 });
  return (request) => /** @type {Promise<Uint8Array>} */ (post.call(SERVICE, ECHO, request));
}

/** @type {import('./carrier.mjs').RequestCarrier} */
export const carrier = {
  name: 'starlane',

  async serve() {
    const node = createNode();
    serveEcho(node);
    const { address } = await node.listenAndServe('tcp://127.0.0.1:0');
    return address;
  },

  async link(address) {
    const node = createNode();
    await node.join(address);
    return askEcho(node);
  },
};
