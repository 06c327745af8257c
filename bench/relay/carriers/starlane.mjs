import { createNode } from '../../../dist/index.js';

/** The one client here does what the limits expect of many. */
const LIMITS = { maxCircuitsPerNeighbour: 1_000_000, maxCircuitsPerSource: 1_000_000, relayOpensPerSecond: 1_000_000 };

/** @type {import('../../../dist/index.js').Node | undefined} */
let node;
/** @type {import('../../../dist/index.js').Socket | undefined} */
let dialled;

/**
 * A node with a link to each of two that listen nowhere, so that nothing else can lie between them.
 *
 * @param {string} name
 * @param {import('../../../dist/index.js').DialOptions} options of every dial
 * @returns {import('./carrier.mjs').RelayedCarrier}
 */
export const throughNode = (name, options) => ({
  name,
  connectEvent: 'connect',

  async serve(services) {
    node = createNode();
    for (const [service, onConnection] of Object.entries(services)) node.bind(service, onConnection);
    return Object.keys(services);
  },

  async relay(services) {
    node = createNode({ role: 'router', ...LIMITS });
    const listener = await node.listenAndServe('tcp://127.0.0.1:0');
    return { link: listener.address, relayId: node.id, services };
  },

  async reach(address) {
    await node?.join(address.link);
  },

  async link(address) {
    const here = createNode();
    node = here;
    await here.join(address.link);
    for (const service of address.services) {
      const { hops } = await here.waitFor(service, { timeoutMs: 10_000 });
      if (hops !== 2) throw new Error(`${service} is ${hops} hops away instead of 2`);
    }
    return (service) => {
      dialled = here.dial(service, options);
      return dialled;
    };
  },

  check() {
    const links = node?.links().length;
    if (links !== 1) throw new Error(`${links} links at the client instead of 1`);
    const via = dialled?.peer?.via;
    if (via?.length !== 1) throw new Error(`${via?.length} relays on the way instead of 1`);
    if (dialled?.secure !== (options.secure === true)) throw new Error('it is not as secure as it should be');
  },
});

export const carrier = throughNode('starlane', {});
