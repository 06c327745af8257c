import net from 'node:net';
import { carrier as direct } from '../../carriers/net.mjs';

/**
 * The proxy that everybody writes first. It passes half-close on, as the others do.
 *
 * @param {number} port
 * @returns {Promise<number>} the port in front of that one
 */
async function listenBefore(port) {
  const server = net.createServer({ noDelay: true, allowHalfOpen: true }, (near) => {
    const far = net.connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true });
    near.on('error', () => far.destroy());
    far.on('error', () => near.destroy());
    near.pipe(far).pipe(near);
  });
  await new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => resolve(undefined));
  });
  return /** @type {net.AddressInfo} */ (server.address()).port;
}

/** `a.pipe(b).pipe(a)` between two TCP sockets. @type {import('./carrier.mjs').RelayedCarrier} */
export const carrier = {
  ...direct,
  name: 'pipe',

  async relay({ host, ports }) {
    /** @type {Record<string, number[]>} */
    const front = {};
    for (const [service, targets] of Object.entries(ports))
      front[service] = await Promise.all(targets.map(listenBefore));
    return { host, ports: front };
  },
};
