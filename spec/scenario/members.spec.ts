// Real nodes with credentials, linked in a ring: a member that is revoked is gone from all of them.

import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Authority } from '../../lib/identity/authority.js';
import { writeCredentials } from '../../lib/identity/credentials.js';
import type { MemberBook } from '../../lib/identity/member-book.js';
import type { MemberRights } from '../../lib/identity/member-certificate.js';
import { createNode, type Node } from '../../lib/index.js';
import { newAuthority, newMember, type TestMember } from '../support/members.js';

const DAY_MS = 86_400_000;

let authority: Authority;
let folder: string;
let members: TestMember[];
let nodes: Node[];

beforeEach(() => {
  authority = newAuthority();
  folder = mkdtempSync(join(tmpdir(), 'starlane-'));
  members = [];
  nodes = [];
});

afterEach(async () => {
  await Promise.all(nodes.map((node) => node.close()));
  rmSync(folder, { recursive: true });
});

function start(rights: Partial<MemberRights> = {}): Node {
  const number = members.length;
  const member = newMember(authority, { name: `node ${number}`, rights });
  const credentials = join(folder, `${number}`);
  writeCredentials(credentials, {
    key: member.identity.privateKey,
    certificate: member.certificate,
    authorities: [authority.certificate],
    seeds: [],
    statements: [],
  });
  const node = createNode({ credentials, role: 'server' });
  members.push(member);
  nodes.push(node);
  return node;
}

/** Nodes of which each has joined the one before, and the first one the last. Each binds a service, and knows those of all others. */
async function ring(...rights: Array<Partial<MemberRights>>): Promise<void> {
  const addresses: string[] = [];
  for (const one of rights) {
    const node = start(one);
    node.bind(`service-${addresses.length}`, (socket) => socket.end());
    addresses.push((await node.listenAndServe('tls://127.0.0.1:0')).address);
  }
  await Promise.all(nodes.map((node, index) => node.join(addresses[(index + 1) % nodes.length])));
  await Promise.all(nodes.flatMap((node) => addresses.map((_, index) => node.waitFor(`service-${index}`))));
}

function bookOf(node: Node): MemberBook {
  return (node as unknown as { credentials: { members: MemberBook } }).credentials.members;
}

/** Resolves when a node offers nothing to another one any more, nor is reached by it. */
async function isGone(index: number, from: Node): Promise<void> {
  const { id } = nodes[index];
  while (from.serviceMap().has(`service-${index}`)) await once(from, 'unservice');
  while (from.routesMap().has(id)) await once(from.routesMap(), 'remove');
}

async function revoke(index: number, at: number): Promise<void> {
  const others = nodes.filter((_, other) => other !== index);
  const gone = others.map((node) => isGone(index, node));
  const { publicKey } = members[index].identity;
  bookOf(nodes[at]).add(authority.revoke(publicKey, Date.now() + 40 * DAY_MS));
  await Promise.all(gone);
  for (const node of others) expect(bookOf(node).isRevoked(publicKey)).toBe(true);
}

describe('a member that is revoked is gone from every node', () => {
  it('when it is an ordinary one', async () => {
    await ring({ issue: true }, {}, {}, { relay: false, offer: ['service-3'] }, {}, {});
    await revoke(3, 0);
  });

  it('when it is the relay between others', async () => {
    await ring({ issue: true }, {}, { relay: false }, {}, {}, {});
    await revoke(1, 3);
    // What it was in the middle of is reached the other way round.
    while (!nodes[2].routesMap().has(nodes[0].id)) await once(nodes[2].routesMap(), 'add');
    expect(nodes[2].routesMap().get(nodes[0].id)?.nextHop).toBe(nodes[3].id);
  });

  it('when it is the issuer', async () => {
    await ring({ issue: true }, {}, {}, {}, {}, { issue: true });
    await revoke(0, 5);
  });
});

describe('a server', () => {
  it("emits 'error' with EACCES when the certificate does not allow its service", async () => {
    const node = start({ offer: ['db*'] });
    const [error] = await once(node.bind('web'), 'error');
    expect(error).toMatchObject({ code: 'EACCES', syscall: 'listen', cause: { code: 'ERR_STARLANE_RIGHT' } });
    const server = node.bind('db1');
    await once(server, 'listening');
  });
});
