// An HTTP server that knows nothing of Starlane, reached by name.
//
//   node examples/http-by-name.mjs

import http from 'node:http';
import { createNode } from 'starlane';
import { agent } from 'starlane/http';

const server = createNode();
const { address } = await server.listenAndServe('tcp://127.0.0.1:0');
const site = http.createServer((request, response) => response.end(`you asked for ${request.url}`));
server.bind('web', site);

const client = createNode();
await client.join(address);

// One agent for all requests: it keeps idle sockets for later ones, as the agent of node:http does.
const toServices = agent(client);
const response = await new Promise((resolve, reject) => {
  http.get('http://web/news', { agent: toServices }, resolve).on('error', reject);
});
for await (const chunk of response) console.log(`${chunk}`);

toServices.destroy();
await client.close();
await server.close();
