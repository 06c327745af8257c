// What sockets and servers give as addresses, and where those lead.

import { once } from 'node:events';
import { isIPv4 } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, describe, expect, it } from '@jest/globals';
import { createNode, type Node, type NodeOptions, type Socket } from '../../lib/index.js';
import { hostOfStandIn, standInForNode, standInForService } from '../../lib/socket/endpoints.js';
import { within } from '../support/deadline.js';
import { thrownCode } from '../support/thrown.js';

const nodes: Node[] = [];

function makeNode(options: NodeOptions): Node {
  const node = createNode({ closeTimeoutMs: 100, ...options });
  nodes.push(node);
  return node;
}

afterEach(() => Promise.all(nodes.splice(0).map((node) => node.close())));

/** Two nodes with a link, and the ends of a socket between them. */
async function pair(options: NodeOptions): Promise<{ near: Socket; far: Socket; client: Node; server: Node }> {
  const [client, server] = [makeNode(options), makeNode(options)];
  const { address } = await server.listenAndServe('tcp://127.0.0.1:0');
  await client.join(address);
  const bound = server.bind('echo:7');
  const near = client.dial('echo:7');
  const [[far]] = await Promise.all([once(bound, 'connection'), once(near, 'connect')]);
  return { near, far: far as Socket, client, server };
}

describe('The addresses of sockets', () => {
  it('are the ids of nodes by default', async () => {
    const { near, far, client, server } = await pair({});
    expect([near.remoteAddress, near.remoteFamily]).toEqual([`@${server.id}`, 'Starlane']);
    expect([far.remoteAddress, far.localAddress]).toEqual([`@${client.id}`, `@${server.id}`]);
  });

  it('look like those of IPv4 with `socketAddresses`, the same for each socket of a node', async () => {
    const { near, far, client, server } = await pair({ socketAddresses: 'ipv4' });
    expect([near.remoteFamily, near.localFamily, far.remoteFamily]).toEqual(['IPv4', 'IPv4', 'IPv4']);
    expect([near.remoteAddress, near.localAddress].map((address) => isIPv4(address as string))).toEqual([true, true]);
    expect(near.remoteAddress).toBe(far.localAddress);
    expect(near.localAddress).toBe(far.remoteAddress);
    expect(near.address()).toEqual({ address: near.localAddress, family: 'IPv4', port: near.localPort });
    expect([near.peer?.id, far.peer?.id]).toEqual([server.id, client.id]);
    const other = server.bind('other');
    expect(other.address()).toMatchObject({ address: far.localAddress, family: 'IPv4' });
  });

  it('lead back to the node, by dial and by node.net', async () => {
    const { far, client, server } = await pair({ socketAddresses: 'ipv4' });
    client.bind(':9', (socket) => socket.end('back'));
    const { remoteAddress } = far;
    expect(await within('by dial', text(server.dial(`${remoteAddress}:9`)))).toBe('back');
    expect(await within('by net', text(server.net.connect(9, remoteAddress as string)))).toBe('back');
  });

  it('are of one kind or the other', () => {
    expect(thrownCode(() => createNode({ socketAddresses: 'IPv4' as never }))).toBe('ERR_STARLANE_OPTION');
  });
});

describe('Addresses that represent a node or a service', () => {
  it('differ for nodes and services, even if both have the same name', () => {
    const [node, service] = [standInForNode('AAAAAAAAAAA'), standInForService('@AAAAAAAAAAA')];
    expect([node, service]).toEqual([expect.stringMatching(/^198\.19\./), expect.stringMatching(/^198\.18\./)]);
    expect([hostOfStandIn(node), hostOfStandIn(`::ffff:${node}`)]).toEqual(['@AAAAAAAAAAA', '@AAAAAAAAAAA']);
    expect(hostOfStandIn('198.51.100.1')).toBeUndefined();
  });

  it('are available for any number of nodes: the least recently used node loses its address', () => {
    const idOf = (n: number): string => n.toString(36).padStart(11, 'B');
    const kept = standInForNode(idOf(0));
    const first = standInForNode(idOf(1));
    const all = 2 ** 16 - 2;
    for (let n = 2; n < all + 100; n++) {
      standInForNode(idOf(n));
      if (n % 1_000 === 0) expect(standInForNode(idOf(0))).toBe(kept);
    }
    expect(hostOfStandIn(kept)).toBe(`@${idOf(0)}`);
    expect(hostOfStandIn(first)).not.toBe(`@${idOf(1)}`);
  });
});
