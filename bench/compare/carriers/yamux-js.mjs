import { once } from 'node:events';
import net from 'node:net';
import { Client, Server } from 'yamux-js';
import { ask, dispatch } from './by-first-byte.mjs';

const options = { acceptBacklog: 2 ** 31, enableKeepAlive: false, logger: () => {} };

/** yamux-js over one TCP link. @type {import('../../carriers/carrier.mjs').Carrier} */
export const carrier = {
  name: 'yamux-js',
  connectEvent: undefined,

  async serve(services) {
    const onStream = dispatch(services);
    const server = net.createServer({ noDelay: true }, (link) => {
      const session = new Server(onStream, options);
      link.pipe(session).pipe(link);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return { port: /** @type {net.AddressInfo} */ (server.address()).port, services: Object.keys(services) };
  },

  async link(address) {
    const link = net.connect({ port: address.port, host: '127.0.0.1', noDelay: true });
    await once(link, 'connect');
    const session = new Client(options);
    link.pipe(session).pipe(link);
    return (service) => {
      const stream = session.open();
      // It neither sends a FIN when a stream ends nor makes an 'end' of one received: this is as near as a user gets.
      stream.once('finish', () => {
        stream.close();
        stream.destroy();
      });
      return ask(stream, address.services, service);
    };
  },
};
