// Commands of starlane/messages over plain TCP on loopback, from the node that has a link to the other.

import { createNode } from '../../../dist/index.js';
import { messages } from '../../../dist/messages/index.js';

const ECHO = 1;

/**
 * @param {string | undefined} hub the address of the node that listens; undefined: this one does
 * @returns {Promise<any>}
 */
export async function open(hub) {
  const node = createNode();
  let address = hub;
  if (hub === undefined) ({ address } = await node.listenAndServe('tcp://127.0.0.1:0'));
  else await node.join(hub);
  return callsOf(node, address);
}

/**
 * What a case of calls needs of a node.
 *
 * @param {import('../../../dist/index.js').Node} node
 * @param {string | undefined} address
 */
export function callsOf(node, address) {
  const post = messages(node);
  return {
    address,
    /** @param {string} topic @param {(data: Uint8Array) => Uint8Array} handler */
    answer: (topic, handler) => post.inbox(topic).onCommand(ECHO, handler),
    /** @param {string} topic */
    ready: (topic) => node.waitFor(`${topic}:16`, { timeoutMs: 30_000 }),
    /** @param {string} topic @param {Uint8Array} data */
    request: (topic, data) => post.call(topic, ECHO, data),
    close: () => node.close(),
  };
}
