import { createNode } from '../../dist/index.js';

/** That of the client. @type {import('../../dist/index.js').Node | undefined} */
let linked;

/** Streams dialled by service name over one TCP link. @type {import('./carrier.mjs').Carrier} */
export const carrier = {
  name: 'starlane',
  connectEvent: 'connect',

  async serve(services) {
    const node = createNode();
    for (const [service, taker] of Object.entries(services)) node.bind(service, taker);
    const listener = await node.listenAndServe('tcp://127.0.0.1:0');
    return { link: listener.address, services: Object.keys(services) };
  },

  async link(address) {
    const node = createNode();
    linked = node;
    await node.join(address.link);
    for (const service of address.services) await node.waitFor(service, { timeoutMs: 10_000 });
    return (service) => node.dial(service);
  },

  async http() {
    // Not with the others: it loads node:https, which the memory of streams is not measured with.
    const { agent, connector } = await import('../../dist/http/index.js');
    const node = /** @type {import('../../dist/index.js').Node} */ (linked);
    return { origin: 'http://web', agent: agent(node), connect: connector(node) };
  },
};
