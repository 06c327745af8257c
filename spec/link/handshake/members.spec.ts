// Links between members of a network with an authority, and whom such nodes refuse.

import { once } from 'node:events';
import { duplexPair } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createNode, type Link, type Node, type NodeOptions } from '../../../lib/index.js';
import { memberFolder } from '../../support/member-folders.js';
import { newAuthority } from '../../support/members.js';
import { nothingLeft, watchHandles } from '../../support/open-handles.js';
import { readToEnd, socketPath } from '../../support/testnet.js';

const nodes: Node[] = [];
const authority = newAuthority();

function makeNode(options: NodeOptions): Node {
  const node = createNode({ closeTimeoutMs: 200, rejoinMinMs: 1, rejoinMaxMs: 5, ...options });
  nodes.push(node);
  return node;
}

const WAYS = ['tls', 'tcp', 'unix', 'memory'] as const;
type Way = (typeof WAYS)[number];

/** Lets `dialler` make a link to `server`; rejects when either end does not get it. */
async function link(dialler: Node, server: Node, way: Way): Promise<[Link, Link]> {
  const accepted = once(server, 'link') as Promise<[Link]>;
  if (way === 'memory') {
    const [near, far] = duplexPair();
    return Promise.all([dialler.attach(near, { initiator: true }), server.attach(far, { initiator: false })]);
  }
  const { address } = await server.listenAndServe(way === 'unix' ? `unix:${socketPath()}` : `${way}://127.0.0.1:0`);
  const joined = await dialler.join(address);
  return [joined, (await accepted)[0]];
}

beforeEach(() => watchHandles());
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.close()));
  await nothingLeft();
});

describe('two members', () => {
  it.each(WAYS)('are linked over %s, know the name and the tags of each other, and need no secret', async (way) => {
    const [one, other] = [
      memberFolder(authority, { request: { name: 'laptop', tags: ['dev', 'prod, all'] } }),
      memberFolder(authority, { request: { name: 'server' } }),
    ];
    const [client, server] = [makeNode({ credentials: one.folder }), makeNode({ credentials: other.folder })];
    const [near, far] = await link(client, server, way);
    expect(near).toMatchObject({ peerId: other.identity.nodeId, peerName: 'server', peerTags: [] });
    expect(far).toMatchObject({ peerId: one.identity.nodeId, peerName: 'laptop', peerTags: ['dev', 'prod, all'] });
    expect(server.links()).toMatchObject([{ peerName: 'laptop', peerTags: ['dev', 'prod, all'] }]);
    server.bind('echo', (socket) => socket.pipe(socket));
    const socket = client.dial('echo');
    socket.end('hello');
    expect((await readToEnd(socket)).toString()).toBe('hello');
  });
});
