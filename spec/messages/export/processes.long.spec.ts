// Bridges as processes, between two networks of members: one is killed and the other one takes over; one is revoked and has lost the export.

import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Authority } from '../../../lib/identity/authority.js';
import { createNode, type Node } from '../../../lib/index.js';
import { builtUrl, runProgram } from '../../support/built-lib.js';
import type { Child } from '../../support/child.js';
import { within } from '../../support/deadline.js';
import { type MemberFolder, memberFolder } from '../../support/member-folders.js';
import { bookOf } from '../../support/member-net.js';
import { newAuthority } from '../../support/members.js';
import { readToEnd } from '../../support/testnet.js';

/** The nodes of a network that are in this process: the first one, at which bridges join, and one behind it, reached through it. */
class Network {
  readonly authority: Authority = newAuthority();
  readonly folders: string[] = [];
  readonly nodes: Node[] = [];
  address = '';

  async open(): Promise<void> {
    const [relay, end] = [this.node('relay'), this.node('end')] as const;
    this.address = (await relay.listenAndServe('tls://127.0.0.1:0')).address;
    await end.join(this.address);
  }

  /** The node that knows the others through a relay only. */
  get end(): Node {
    return this.nodes[1] as Node;
  }

  member(name: string, issue = false): MemberFolder {
    const made = memberFolder(this.authority, { request: { name, rights: { relay: true, offer: ['*'], issue } } });
    this.folders.push(dirname(made.folder));
    return made;
  }

  node(name: string): Node {
    const node = createNode({ credentials: this.member(name, true).folder, role: name === 'end' ? 'server' : 'peer' });
    this.nodes.push(node);
    return node;
  }

  async close(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.close()));
    for (const folder of this.folders) rmSync(folder, { recursive: true, force: true });
  }
}

interface Bridge {
  readonly process: Child;
  /** Its node id in the network of callers. */
  readonly id: string;
  readonly inOrigin: MemberFolder;
  readonly inCallers: MemberFolder;
}

let origin: Network;
let callers: Network;
let bridges: Bridge[];

beforeEach(async () => {
  origin = new Network();
  callers = new Network();
  bridges = [];
  await Promise.all([origin.open(), callers.open()]);
  origin.end.bind('orders', { allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  });
});

afterEach(async () => {
  await Promise.all(bridges.map(({ process }) => process.stop()));
  await Promise.all([origin.close(), callers.close()]);
});

async function startBridge(name: string): Promise<Bridge> {
  const [inOrigin, inCallers] = [origin.member(name), callers.member(name)];
  const process = runProgram(`
    const { exportService } = await import(${JSON.stringify(builtUrl('messages/index.js'))});
    const from = starlane.createNode({ credentials: ${JSON.stringify(inOrigin.folder)} });
    const to = starlane.createNode({ credentials: ${JSON.stringify(inCallers.folder)} });
    await Promise.all([from.join(${JSON.stringify(origin.address)}), to.join(${JSON.stringify(callers.address)})]);
    const made = exportService({ from, to, service: 'orders' });
    made.on('offer', () => say({ event: 'offer' }));
    made.on('withdraw', () => say({ event: 'withdraw' }));
    say({ event: 'up', id: to.id });
  `);
  const { id } = await process.waitFor('its start', ({ event }) => event === 'up');
  const bridge = { process, id: id as string, inOrigin, inCallers };
  bridges.push(bridge);
  await offers(callers.end, bridge.id, true);
  return bridge;
}

/** Resolves when a node sees the service at a bridge, or no longer. */
async function offers(at: Node, nodeId: string, wanted: boolean): Promise<void> {
  const isThere = (): boolean =>
    at
      .serviceMap()
      .get('orders')
      .some((instance) => instance.nodeId === nodeId);
  const wait = async (): Promise<void> => {
    while (isThere() !== wanted) await Promise.race([once(at, 'service'), once(at, 'unservice')]);
  };
  await within(`orders is ${wanted ? '' : 'not '}offered by ${nodeId}`, wait());
}

async function ask(text: string): Promise<string> {
  const socket = callers.end.dial('orders', { allowHalfOpen: true });
  socket.end(text);
  return (await within('the answer', readToEnd(socket))).toString();
}

describe('two bridges between two networks', () => {
  it('offer one service, and when one is killed, dials go through the other one', async () => {
    const [first, second] = [await startBridge('one'), await startBridge('two')] as const;
    for (let round = 0; round < 10; round++) expect(await ask(`${round}`)).toBe(`${round}`);
    const open = callers.end.dial('orders', { selector: (all) => all.find(({ nodeId }) => nodeId === first.id) });
    await once(open, 'connect');
    const lost = once(open, 'close').catch((error: unknown) => error);
    first.process.kill('SIGKILL');
    expect(await lost).toMatchObject({ code: 'ECONNRESET' });
    for (let round = 0; round < 10; round++) expect(await ask(`${round}`)).toBe(`${round}`);
    await offers(callers.end, first.id, false);
    expect(callers.end.serviceMap().get('orders')).toMatchObject([{ nodeId: second.id }]);
  });

  it.each(['origin', 'callers'])(
    'of which one is revoked in the network of %s: that one has lost it',
    async (where) => {
      const [first, second] = [await startBridge('one'), await startBridge('two')] as const;
      const open = callers.end.dial('orders', { selector: (all) => all.find(({ nodeId }) => nodeId === first.id) });
      await once(open, 'connect');
      const lost = once(open, 'close').catch((error: unknown) => error);
      const [network, { identity }] = where === 'origin' ? [origin, first.inOrigin] : [callers, first.inCallers];
      const untilMs = Date.now() + 40 * 86_400_000;
      bookOf(network.nodes[0] as Node).add(network.authority.revoke(identity.publicKey, untilMs));
      expect(await lost).toMatchObject({ code: 'ECONNRESET' });
      await offers(callers.end, first.id, false);
      if (where === 'origin') await first.process.waitFor('the withdrawal', ({ event }) => event === 'withdraw');
      expect(callers.end.serviceMap().get('orders')).toMatchObject([{ nodeId: second.id }]);
      expect(await ask('still')).toBe('still');
    },
  );

  it('show nothing but the service, in nodes, routes and queries', async () => {
    const { id } = await startBridge('one');
    origin.end.bind('secrets');
    const known = [...callers.nodes.map((node) => node.id), id].sort();
    for (const node of callers.nodes) {
      expect([...node.routes().map(({ nodeId }) => nodeId), node.id].sort()).toEqual(known);
      expect(new Set(node.services().map(({ service }) => service))).toEqual(new Set(['orders']));
      const { nodes } = (await node.query(`@${id}`, '/v1/nodes')) as { nodes: Array<{ id: string }> };
      expect(nodes.map((one) => one.id).sort()).toEqual(known);
    }
  });
});
