import { createNode } from '../../../dist/index.js';

const SECRET = 'a secret for benchmarks, and for nothing else';

/** Streams dialled by service name over one TLS link between members. @type {import('../../carriers/carrier.mjs').Carrier} */
export const carrier = {
  name: 'starlane',
  connectEvent: 'connect',

  async serve(services) {
    const node = createNode({ secret: SECRET });
    for (const [service, onConnection] of Object.entries(services)) node.bind(service, onConnection);
    const listener = await node.listenAndServe('tls://127.0.0.1:0');
    return { link: listener.address, services: Object.keys(services) };
  },

  async link(address) {
    const node = createNode({ secret: SECRET });
    await node.join(address.link);
    for (const service of address.services) await node.waitFor(service, { timeoutMs: 10_000 });
    return (service) => node.dial(service);
  },
};
