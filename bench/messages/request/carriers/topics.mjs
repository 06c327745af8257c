// Requests of topics over one TCP link.

import { createNode } from '../../../../dist/index.js';
import { topics } from '../../../../dist/messages/index.js';

const TOPIC = 'echo';

/** @type {import('./carrier.mjs').RequestCarrier} */
export const carrier = {
  name: 'topics',

  async serve() {
    const node = createNode();
    topics(node).subscribe(TOPIC, (message) => message.respond(message.data));
    const { address } = await node.listenAndServe('tcp://127.0.0.1:0');
    return address;
  },

  async link(address) {
    const node = createNode();
    await node.join(address);
    await node.waitFor(`topic/${TOPIC}:17`, { timeoutMs: 10_000 });
    const ask = topics(node);
    return async (request) => {
      const reply = await ask.request(TOPIC, request, { timeoutMs: 10_000 });
      return reply.data ?? reply;
    };
  },
};
