import http from 'node:http';
import net from 'node:net';

// Every connection leaves a 4-tuple in TIME_WAIT for a minute and there are 28,000 ephemeral ports towards one port: with
// several listening ports the case that opens a connection each never has to search for a free one.
const PORTS_PER_SERVICE = 4;

/** A TCP socket for each stream: what everything else is compared with. @type {import('./carrier.mjs').Carrier} */
export const carrier = {
  name: 'net',
  connectEvent: 'connect',

  async serve(services, host = '127.0.0.1') {
    /** @type {Record<string, number[]>} */
    const ports = {};
    for (const [service, taker] of Object.entries(services)) {
      ports[service] = [];
      const count = typeof taker === 'function' ? PORTS_PER_SERVICE : 1;
      for (let i = 0; i < count; i++) {
        const server = typeof taker === 'function' ? net.createServer({ noDelay: true }, taker) : taker;
        await new Promise((resolve, reject) => {
          server.once('error', reject);
          server.listen({ port: 0, host, backlog: 4096 }, () => resolve(undefined));
        });
        ports[service].push(/** @type {net.AddressInfo} */ (server.address()).port);
      }
    }
    return { host, ports };
  },

  async link({ host, ports }) {
    let turn = 0;
    return (service) => {
      turn = (turn + 1) % PORTS_PER_SERVICE;
      return net.connect({ port: ports[service][turn], host, noDelay: true });
    };
  },

  async http({ host, ports }) {
    return { origin: `http://${host}:${ports.web[0]}`, agent: new http.Agent({ keepAlive: true }), connect: {} };
  },
};
