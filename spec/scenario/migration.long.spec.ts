// A running network that has a secret gains an authority, and then drops the secret, node by node. Streams between the other nodes go on,
// and each service can be reached all the time.

import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createNode, type Node, type NodeOptions, type Socket } from '../../lib/index.js';
import { within } from '../support/deadline.js';
import { memberFolder } from '../support/member-folders.js';
import { newAuthority } from '../support/members.js';
import { nothingLeft, watchHandles } from '../support/open-handles.js';
import { readToEnd } from '../support/testnet.js';
import { turnsUntil } from '../support/turns.js';

const SECRET = 'a secret of more than 16 bytes';
const SIZE = 4;
const authority = newAuthority();

/** A machine of the network: its nodes come and go, and its address stays. */
class Site {
  node!: Node;
  address = '127.0.0.1:0';
  private runs = 0;

  constructor(private readonly name: string) {}

  /** The service that only this run of its node has. */
  get own(): string {
    return `${this.name}-${this.runs}`;
  }

  async start(options: NodeOptions, others: readonly Site[]): Promise<void> {
    this.runs++;
    const seeds = others.map(({ address }) => address);
    this.node = createNode({ ...options, seeds, closeTimeoutMs: 100, rejoinMinMs: 5, rejoinMaxMs: 20 });
    this.node.on('warning', () => {});
    this.address = (await this.node.listenAndServe(this.address)).address;
    for (const service of ['echo', this.own]) this.node.bind(service, (socket) => socket.pipe(socket));
  }
}

const sites: Site[] = [];

beforeEach(() => watchHandles());
afterEach(async () => {
  await Promise.all(sites.splice(0).map(({ node }) => node.close()));
  await nothingLeft();
});

async function echo(from: Node, service: string): Promise<string> {
  const socket = from.dial(service);
  socket.end('hello');
  return (await within(service, readToEnd(socket))).toString();
}

/** A stream that stays. */
async function openStream(from: Node, service: string): Promise<Socket> {
  await within(service, from.waitFor(service));
  const socket = from.dial(service);
  await within('the stream', once(socket, 'connect'));
  return socket;
}

/** What comes back over it. */
async function says(socket: Socket, text: string): Promise<string> {
  const answer = once(socket, 'data');
  socket.write(text);
  return String((await within('the answer', answer))[0]);
}

/** Restarts each node with other options, one after the other. */
async function restartAll(optionsOf: (index: number) => NodeOptions): Promise<void> {
  for (const [index, site] of sites.entries()) {
    const others = sites.filter((other) => other !== site);
    // A circuit through the node that is restarted would end with it.
    for (const { node } of sites) await turnsUntil('all are linked', () => node.links().length === others.length);
    const stream = await openStream(others[0].node, others[1].own);
    expect(await says(stream, 'before')).toBe('before');
    const links = others.map(({ node }) => node.links().map(({ peerId }) => peerId));
    await site.node.close();
    expect(await echo(others[2].node, 'echo')).toBe('hello');
    await site.start(optionsOf(index), others);
    // Circuits through other nodes are for other specs.
    await turnsUntil('it has its links', () => site.node.links().length === others.length);
    for (const other of others) {
      await within(site.own, other.node.waitFor(site.own));
      expect(await echo(other.node, site.own)).toBe('hello');
      await within(other.own, site.node.waitFor(other.own));
      expect(await echo(site.node, other.own)).toBe('hello');
    }
    // Over the same link as before.
    expect(await says(stream, 'and after')).toBe('and after');
    const kept = others.map(({ node }) => node.links().map(({ peerId }) => peerId));
    for (const [at, peers] of links.entries()) {
      const stay = peers.filter((peer) => others.some(({ node }) => node.id === peer));
      expect(kept[at]).toEqual(expect.arrayContaining(stay));
    }
    stream.destroy();
  }
}

describe('a network with a secret', () => {
  it('gains an authority, and then drops the secret, node by node, and nothing else ends', async () => {
    for (let index = 0; index < SIZE; index++) {
      const site = new Site(`site${index}`);
      await site.start({ secret: SECRET }, sites);
      sites.push(site);
    }
    const folders = sites.map(
      (_site, index) => memberFolder(authority, { request: { name: `machine ${index}` } }).folder,
    );
    await restartAll((index) => ({ secret: SECRET, credentials: folders[index] }));
    await restartAll((index) => ({ credentials: folders[index] }));
    for (const { node } of sites) {
      for (const link of node.links()) expect(link.peerName).toMatch(/^machine \d$/);
    }
    // Those who know nothing but the secret are out.
    const stranger = createNode({ secret: SECRET });
    try {
      await expect(stranger.join(sites[0].address)).rejects.toMatchObject({ code: 'ERR_STARLANE_CERTIFICATE' });
    } finally {
      await stranger.close();
    }
  });
});
