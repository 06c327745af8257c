// Debian's nats-server, with the Node client of its makers at both ends.

import { execFileSync } from 'node:child_process';
import { startServer } from '../middle.mjs';

const SUBJECT = 'echo';

/** Returns the path of the server; undefined where there is none. */
export function findNats() {
  try {
    return execFileSync('sh', ['-c', 'PATH="$PATH:/usr/sbin" command -v nats-server'], { encoding: 'utf8' }).trim();
  } catch {
    return undefined;
  }
}

/** @type {import('./carrier.mjs').RequestCarrier} */
export const carrier = {
  name: 'nats',

  startMiddle: () => startServer(/** @type {string} */ (findNats())),

  async serve(port) {
    const { connect } = await import('@nats-io/transport-node');
    const connection = await connect({ servers: `127.0.0.1:${port}` });
    connection.subscribe(SUBJECT, { callback: (_error, message) => message.respond(message.data) });
    await connection.flush();
    return port;
  },

  async link(port) {
    const { connect } = await import('@nats-io/transport-node');
    const connection = await connect({ servers: `127.0.0.1:${port}` });
    return async (request) => (await connection.request(SUBJECT, request, { timeout: 10_000 })).data;
  },
};
