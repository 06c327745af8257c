import tls from 'node:tls';
import { generate } from 'selfsigned';

// As for plain sockets: every connection leaves a 4-tuple in TIME_WAIT.
const PORTS_PER_SERVICE = 4;

/** A socket of node:tls for each stream, TLS 1.3, the certificate checked. @type {import('../../carriers/carrier.mjs').Carrier} */
export const carrier = {
  name: 'tls',
  connectEvent: 'secureConnect',

  async serve(services, host = '127.0.0.1') {
    const { cert, private: key } = await generate([{ name: 'commonName', value: 'localhost' }], {
      keyType: 'ec',
      algorithm: 'sha256',
      extensions: [{ name: 'subjectAltName', altNames: [{ type: 2, value: 'localhost' }] }],
    });
    /** @type {Record<string, number[]>} */
    const ports = {};
    for (const [service, onConnection] of Object.entries(services)) {
      ports[service] = [];
      for (let i = 0; i < PORTS_PER_SERVICE; i++) {
        const server = tls.createServer({ cert, key, minVersion: 'TLSv1.3' }, (socket) => {
          socket.setNoDelay(true);
          onConnection(socket);
        });
        await new Promise((resolve, reject) => {
          server.once('error', reject);
          server.listen({ port: 0, host, backlog: 4096 }, () => resolve(undefined));
        });
        ports[service].push(/** @type {import('node:net').AddressInfo} */ (server.address()).port);
      }
    }
    return { host, ports, cert };
  },

  async link({ host, ports, cert }) {
    const secureContext = tls.createSecureContext({ ca: cert, minVersion: 'TLSv1.3' });
    let turn = 0;
    return (service) => {
      turn = (turn + 1) % PORTS_PER_SERVICE;
      const port = ports[service][turn];
      const socket = tls.connect({ port, host, servername: 'localhost', secureContext });
      socket.setNoDelay(true);
      return socket;
    };
  },
};
