import { createNode } from '../../../dist/index.js';

const SECRET = 'a secret for benchmarks, and for nothing else';
const WAIT_MS = 20_000;

/** @type {import('../../../dist/index.js').Node | undefined} */
let node;
/** @type {import('../../../dist/index.js').Socket | undefined} */
let dialled;

/**
 * Streams dialled by service name, over one link or through relays. No node makes links by itself, so that there are only
 * those which the carrier is about.
 *
 * @param {string} name
 * @param {object} [options]
 * @param {boolean} [options.isSecret] all have a secret: links are TLS, and what goes through a relay is encrypted from end to end
 * @param {import('../path.mjs').Side[]} [options.relays]
 * @returns {import('./carrier.mjs').PathCarrier}
 */
export function starlaneWay(name, { isSecret = false, relays = [] } = {}) {
  const makeNode = () => createNode({ role: 'server', insecure: !isSecret, ...(isSecret ? { secret: SECRET } : {}) });
  const scheme = isSecret ? 'tls' : 'tcp';
  /**
   * @param {import('../../../dist/index.js').Node} listening
   * @param {string} host
   */
  const listenAt = async (listening, host) => (await listening.listenAndServe(`${scheme}://${host}:0`)).address;

  return {
    name,
    connectEvent: 'connect',
    relays,

    async serve(services, host) {
      node = makeNode();
      for (const [service, onConnection] of Object.entries(services)) node.bind(service, onConnection);
      return { link: relays.length > 0 ? undefined : await listenAt(node, host), services: Object.keys(services) };
    },

    async relay(host, previous, served) {
      node = makeNode();
      const link = await listenAt(node, host);
      if (previous !== undefined) await node.join(previous.link);
      return { link, services: served.services };
    },

    async reach(address) {
      await node?.join(address.link);
    },

    async link(address) {
      const here = makeNode();
      node = here;
      await here.join(address.link);
      for (const service of address.services) await here.waitFor(service, { timeoutMs: WAIT_MS });
      return (service) => {
        dialled = here.dial(service);
        return dialled;
      };
    },

    check() {
      const links = node?.links().length;
      if (links !== 1) throw new Error(`${links} links at the client instead of 1`);
      const via = dialled?.peer?.via?.length ?? 0;
      if (via !== relays.length) throw new Error(`${via} relays on the way instead of ${relays.length}`);
      // Over a direct link it is the link that is encrypted.
      if (dialled?.secure !== (isSecret && relays.length > 0)) throw new Error('it is not as secure as it should be');
    },
  };
}
