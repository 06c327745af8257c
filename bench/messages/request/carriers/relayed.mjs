// As starlane, but through a relay in a process of its own: as many processes as with a NATS server.

import { createNode } from '../../../../dist/index.js';
import { startProcess } from '../middle.mjs';
import { askEcho, serveEcho } from './starlane.mjs';

/** @type {import('./carrier.mjs').RequestCarrier} */
export const carrier = {
  name: 'relayed',

  startMiddle: () => startProcess(new URL('../relay.mjs', import.meta.url)),

  async serve(relay) {
    // Without links of their own, so that all goes through the relay.
    const node = createNode({ role: 'server' });
    serveEcho(node);
    await node.join(relay);
    return relay;
  },

  async link(relay) {
    const node = createNode({ role: 'server' });
    await node.join(relay);
    return askEcho(node);
  },
};
