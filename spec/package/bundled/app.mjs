// A program that is bundled into one file: two nodes with a secret, which load tls when they need it, a page by service name,
// and an exit by itself.

import { once } from 'node:events';
import { createServer, get } from 'node:http';
import { createNode, StarlaneError } from 'starlane';
import { agent } from 'starlane/http';
import { Session } from 'starlane/mux';

async function main() {
  const secret = 'of this program alone';
  const [server, client] = [createNode({ secret }), createNode({ secret })];
  const { address } = await server.listenAndServe('127.0.0.1:0');
  server.bind(
    'web',
    createServer((_message, response) => response.end('a page')),
  );
  await client.join(address);
  const pages = agent(client);
  const [response] = await once(get('http://web/', { agent: pages }), 'response');
  const page = (await response.toArray()).join('');
  pages.destroy();
  await Promise.all([client.close(), server.close()]);
  console.log(JSON.stringify([page, StarlaneError.name, Session.name]));
}

main();
