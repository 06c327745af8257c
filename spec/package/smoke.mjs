// The packed package, imported: two nodes over loopback TCP, an echo and a page by service name, and an exit
// by itself.
import assert from 'node:assert';
import { once } from 'node:events';
import { createServer, get } from 'node:http';
import { createNode } from 'starlane';
import { agent, connector } from 'starlane/http';
import { Session } from 'starlane/mux';
import { smoke } from './smoke-run.mjs';

await smoke(createNode, Session);

const node = createNode();
node.bind(
  'web',
  createServer((_message, response) => response.end('a page')),
);
const pages = agent(node);
const [response] = await once(get('http://web/', { agent: pages }), 'response');
assert.equal((await response.toArray()).join(''), 'a page');
assert.equal(typeof connector(node), 'function');
pages.destroy();
await node.close();
