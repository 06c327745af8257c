// Seeds that are names in DNS, with a real resolver and a server of the spec. All nodes are on loopback.

import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createNode, type Node, type NodeOptions } from '../../lib/index.js';
import { nodeResolver } from '../../lib/link/names/node-resolver.js';
import { certificateFor } from '../support/certificates.js';
import { DnsServer, useDnsServer } from '../support/dns-server.js';
import { httpProxy } from '../support/proxy-servers.js';

const SECRET = 'of the specs about names';
const HOST = 'seeds.example.test';
const SERVICE = '_starlane._tcp.example.test';

let server: DnsServer;
let undo: () => void;
const nodes: Node[] = [];

beforeEach(async () => {
  server = await DnsServer.start();
  undo = useDnsServer(server);
});

afterEach(async () => {
  delete process.env['STARLANE_JOIN'];
  undo();
  await Promise.all(nodes.splice(0).map((node) => node.close()));
  await server.close();
});

function makeNode(options: NodeOptions = {}): Node {
  const node = createNode({ secret: SECRET, closeTimeoutMs: 100, rejoinMinMs: 20, rejoinMaxMs: 100, ...options });
  nodes.push(node);
  return node;
}

/** A node at an address of this machine, with its port. `server` nodes make no links by themselves. */
async function listening(host: string, port = 0, options: NodeOptions = {}): Promise<{ node: Node; port: number }> {
  const node = makeNode({ role: 'server', ...options });
  const { address } = await node.listenAndServe(`tls://${host}:${port}`);
  return { node, port: Number(address.slice(address.lastIndexOf(':') + 1)) };
}

async function linkedTo(node: Node, ...others: Node[]): Promise<void> {
  const isLinked = (): boolean => others.every(({ id }) => node.links().some(({ peerId }) => peerId === id));
  while (!isLinked()) await once(node, 'link');
}

describe('the resolver of Node', () => {
  it('gives addresses of both kinds with their times, and records of services', async () => {
    server.set(HOST, ['10.0.0.1', '10.0.0.2', '2001:db8::1'], 17);
    server.setServices(SERVICE, [[10, 5, 7400, `pod-0.${HOST}`]]);
    const resolver = nodeResolver();
    expect([...(await resolver.addresses(HOST))].sort((one, other) => (one.address < other.address ? -1 : 1))).toEqual([
      { address: '10.0.0.1', ttl: 17 },
      { address: '10.0.0.2', ttl: 17 },
      { address: '2001:db8::1', ttl: 17 },
    ]);
    expect(await resolver.services(SERVICE)).toEqual([{ priority: 10, weight: 5, port: 7400, name: `pod-0.${HOST}` }]);
    await expect(resolver.addresses('other.example.test')).rejects.toMatchObject({ code: 'ENOTFOUND' });
    server.mode = 'fails';
    await expect(resolver.services(SERVICE)).rejects.toMatchObject({ code: 'ESERVFAIL' });
  });

  it('knows the names of the machine as well', async () => {
    const found = await nodeResolver().addresses('localhost');
    expect(found.map(({ address }) => address)).toContain('127.0.0.1');
  });
});

describe('a seed that is a name', () => {
  it('leads to every address of a host', async () => {
    const { node: first, port } = await listening('127.0.0.1');
    const { node: second } = await listening('127.0.0.2', port);
    server.set(HOST, ['127.0.0.1', '127.0.0.2']);
    await linkedTo(makeNode({ seeds: [`dns:${HOST}:${port}`] }), first, second);
  });

  it('leads to the hosts and ports of a service, as the environment says', async () => {
    const { node: first, port } = await listening('127.0.0.1');
    const { node: second, port: other } = await listening('127.0.0.1');
    server.setServices(SERVICE, [
      [0, 0, port, `pod-0.${HOST}`],
      [0, 0, other, `pod-1.${HOST}`],
      [0, 0, 9, `gone.${HOST}`],
    ]);
    for (const pod of [0, 1]) server.set(`pod-${pod}.${HOST}`, ['127.0.0.1']);
    process.env['STARLANE_JOIN'] = `srv:${SERVICE}`;
    await linkedTo(makeNode(), first, second);
  });

  it('that DNS does not know yet, or whose server fails, is asked for again', async () => {
    const { node: first, port } = await listening('127.0.0.1');
    const node = makeNode({ seeds: [`dns:${HOST}:${port}`] });
    const [unknown] = await once(node, 'warning');
    expect(unknown).toMatchObject({ code: 'ERR_STARLANE_TRANSPORT', message: expect.stringContaining(HOST) });
    server.mode = 'fails';
    await once(node, 'warning');
    server.mode = 'answers';
    server.set(HOST, ['127.0.0.1']);
    await linkedTo(node, first);
  });

  it('keeps its addresses when the server fails, and follows when they move', async () => {
    const { node: first, port } = await listening('127.0.0.1');
    server.set(HOST, ['127.0.0.1'], 1);
    const node = makeNode({ seeds: [`dns:${HOST}:${port}`] });
    await linkedTo(node, first);
    server.mode = 'fails';
    const lost = once(node, 'unlink');
    await first.close();
    await lost;
    const { node: next } = await listening('127.0.0.1', port);
    await linkedTo(node, next);
    server.mode = 'answers';
    const { node: moved } = await listening('127.0.0.3', port);
    server.set(HOST, ['127.0.0.3'], 1);
    await next.close();
    await linkedTo(node, moved);
  });

  it('can be joined: the first address that answers will do', async () => {
    const { node: first, port } = await listening('127.0.0.1');
    server.set(HOST, ['127.0.0.9', '127.0.0.1']);
    const node = makeNode();
    const link = await node.join(`dns:${HOST}:${port}`);
    expect(link.peerId).toBe(first.id);
    expect(link.address).toBe(`tls://127.0.0.1:${port}`);
    await expect(node.join('dns:nothing.example.test:1', { timeoutMs: 3_000 })).rejects.toMatchObject({
      code: 'ETIMEDOUT',
      cause: expect.objectContaining({ code: 'ENOTFOUND' }),
    });
    await expect(node.join('dns:127.0.0.1:1')).rejects.toMatchObject({ code: 'ERR_STARLANE_ADDRESS' });
  });

  it('that leads to another network only ends the wait for it', async () => {
    const { port } = await listening('127.0.0.1', 0, { secret: 'of another network' });
    server.set(HOST, ['127.0.0.1']);
    await expect(makeNode().join(`dns:${HOST}:${port}`)).rejects.toMatchObject({ code: 'ERR_STARLANE_SECRET' });
  });

  it('is the name that certificates of your own PKI may have', async () => {
    const { cert, key } = await certificateFor(HOST);
    const tls = { cert, key, ca: cert };
    const { node: first, port } = await listening('127.0.0.1', 0, { tls });
    server.set(HOST, ['127.0.0.1']);
    server.set('else.example.test', ['127.0.0.1']);
    server.setServices(SERVICE, [[0, 0, port, 'else.example.test']]);
    await linkedTo(makeNode({ tls, seeds: [`dns:${HOST}:${port}`] }), first);
    await expect(makeNode({ tls }).join(`dns:else.example.test:${port}`)).rejects.toMatchObject({
      code: 'ERR_STARLANE_TLS',
    });
    await expect(makeNode({ tls }).join(`tls://127.0.0.1:${port}`)).rejects.toMatchObject({ code: 'ERR_STARLANE_TLS' });
  });

  it('behind a proxy leads to names that the proxy resolves', async () => {
    const { node: first, port } = await listening('127.0.0.1');
    server.setServices(SERVICE, [[0, 0, port, 'far.example.test']]);
    const proxy = await httpProxy();
    try {
      const node = makeNode({ via: proxy.url, seeds: [`srv:${SERVICE}`] });
      await linkedTo(node, first);
      expect(new Set(proxy.asked)).toEqual(new Set([`far.example.test:${port}`]));
    } finally {
      await proxy.close();
    }
  });
});
