// How statements about members spread, between whole control planes.

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { codeOf } from '../../../lib/errors.js';
import { MessageType } from '../../../lib/wire/messages.js';
import { newAuthority, newMember } from '../../support/members.js';
import { MemberNet } from '../member-net.js';

let net: MemberNet;

beforeEach(() => {
  net = new MemberNet();
});

afterEach(() => net.dispose());

describe('a link between two members', () => {
  it('makes their books equal, and is in sync only then', async () => {
    const [a, b, c, d] = net.addAll(4);
    net.link(a, b);
    net.link(c, d);
    await net.pass(3_000);
    const [bc, cb] = net.link(b, c);
    await net.until('in sync', () => b.synced.includes(bc) && c.synced.includes(cb));
    for (const one of [b, c]) for (const other of [a, b, c, d]) expect(one.knows(other)).toBe(true);
    await net.pass(20);
    for (const one of [a, d]) for (const other of [a, b, c, d]) expect(one.knows(other)).toBe(true);
    expect(a.book?.digest()).toEqual(d.book?.digest());
  });

  it('costs two digests when the books are equal', async () => {
    const [a, b] = net.addAll(2);
    a.book?.add(b.member.statement);
    b.book?.add(a.member.statement);
    const [ab] = net.link(a, b);
    await net.pass(60_000);
    const about = [MessageType.MEMBERS, MessageType.MEMBERS_DIGEST, MessageType.MEMBER_HASHES] as number[];
    for (const link of [ab, ab.other]) {
      expect(link.sentTypes.filter((type) => about.includes(type))).toEqual([MessageType.MEMBERS_DIGEST]);
    }
  });

  it('sends certificates ahead of the records of their nodes', async () => {
    const [a, b, c] = net.addAll(3);
    net.chain(a, b);
    await net.pass(3_000);
    const [bc] = net.link(b, c);
    await net.until('in sync', () => b.synced.includes(bc));
    await net.pass(5_000);
    const first = bc.sent.findIndex((message) => message.type === MessageType.RECORDS);
    const last = bc.sent.findLastIndex((message) => message.type === MessageType.MEMBERS);
    expect(last).toBeLessThan(first);
    expect(c.reaches(a)).toBe(true);
    expect(c.plane.gossip.counters.strangers).toBe(0);
  });

  it('sends nothing about members to a peer that does not know of them', async () => {
    const a = net.add({ acceptsSecret: true });
    const b = net.add({ hasBook: false });
    const [ab] = net.link(a, b);
    await net.until('in sync', () => a.synced.includes(ab));
    a.book?.add(newMember(net.authority, {}, net.now()).statement);
    await net.pass(30_000);
    expect(ab.sentTypes.some((type) => type >= MessageType.MEMBERS)).toBe(false);
  });

  it('carries statements, and nothing else, when it is a direct one', async () => {
    const [a, b] = net.addAll(2);
    const [ab] = net.link(a, b, 'direct');
    await net.until('in sync', () => a.synced.includes(ab) && b.synced.includes(ab.other));
    const { statement } = newMember(net.authority, {}, net.now());
    a.book?.add(statement);
    await net.pass(10);
    expect(b.book?.add(statement)).toBe('known');
    expect(ab.sentTypes).not.toContain(MessageType.RECORDS);
  });
});

describe('a new statement', () => {
  it('reaches every node at once, over each link in one direction', async () => {
    const nodes = net.addAll(5);
    net.chain(...nodes);
    await net.pass(20_000);
    const before = nodes.map(({ links }) => [...links].map(({ statements }) => statements.length));
    const { statement } = newMember(net.authority, {}, net.now());
    nodes[0].book?.add(statement);
    await net.pass(4 * 5);
    for (const node of nodes) expect(node.book?.add(statement)).toBe('known');
    const sent = nodes.map(({ links }) => [...links].map(({ statements }) => statements.length));
    const copies = sent.flat().reduce((sum, count) => sum + count, 0) - before.flat().reduce((sum, n) => sum + n, 0);
    expect(copies).toBe(4);
  });

  it('of a client is passed on by its peers; a client passes none on', async () => {
    const [a, b] = net.addAll(2);
    const client = net.add({ role: 'client' });
    net.link(client, a);
    net.link(client, b);
    await net.pass(3_000);
    expect(a.knows(client) && b.knows(client) && client.knows(a) && client.knows(b)).toBe(true);
    await net.pass(20_000);
    const { statement } = newMember(net.authority, {}, net.now());
    a.book?.add(statement);
    await net.pass(20);
    expect(client.book?.add(statement)).toBe('known');
    const toB = [...client.links].find(({ peerId }) => peerId === b.id);
    expect(toB?.statements.some((one) => Buffer.compare(one, statement) === 0)).toBe(false);
  });

  it('waits for a peer that accepts nothing, revocations and successions first', async () => {
    const [a, b, c] = net.addAll(3);
    const [ab] = net.link(a, b);
    net.link(a, c);
    await net.pass(3_000);
    ab.isBlocked = true;
    const sent = ab.statements.length;
    const { statement } = newMember(net.authority, {}, net.now());
    a.book?.add(statement);
    const revocation = net.revocation(c);
    a.book?.add(revocation);
    expect(ab.statements).toHaveLength(sent);
    ab.drain();
    expect(ab.statements.slice(sent).map((one) => one[0])).toEqual([2, 1]);
  });

  it('that is forged costs its sender the link, and a ban', async () => {
    const [a, b] = net.addAll(2);
    const [ab] = net.link(a, b);
    await net.pass(3_000);
    const forged = Buffer.from(net.revocation(b));
    forged[forged.length - 1] ^= 1;
    ab.other.send({ type: MessageType.MEMBERS, statements: [forged] });
    await net.pass(5);
    expect(codeOf(ab.error)).toBe('ERR_STARLANE_CERTIFICATE');
    expect(a.plane.mayAccept({ peerId: b.id, purpose: 'mesh', role: 'peer' })).toBe(false);
    await net.pass(601_000);
    expect(a.plane.mayAccept({ peerId: b.id, purpose: 'mesh', role: 'peer' })).toBe(true);
  });

  it('of another network or a later version is ignored, and not passed on', async () => {
    const [a, b, c] = net.addAll(3);
    net.chain(a, b, c);
    await net.pass(3_000);
    const other = newMember(newAuthority(), {}, net.now()).statement;
    const [ab] = a.links;
    const [, bc] = b.links;
    const sent = bc.statements.length;
    ab.send({ type: MessageType.MEMBERS, statements: [other, Buffer.from([99, 1, 2, 3])] });
    await net.pass(100);
    expect([ab.isUp, bc.statements.length]).toEqual([true, sent]);
  });
});

describe('a node that was cut off', () => {
  it('learns of a revocation at its first link, and is in sync only then', async () => {
    const [a, b, c] = net.addAll(3);
    net.chain(a, b, c);
    await net.pass(5_000);
    for (const link of [...c.links]) link.destroy(new Error('cut'));
    await net.pass(1_000);
    const victim = net.add();
    a.book?.add(victim.member.statement);
    a.book?.add(net.revocation(victim));
    await net.pass(1_000);
    const [cb] = net.link(c, b);
    await net.until('in sync', () => c.synced.includes(cb));
    expect(c.book?.isRevoked(victim.identity.publicKey)).toBe(true);
  });

  it('learns of a statement that its peers could not take at first', async () => {
    const [a, b] = net.addAll(2);
    net.link(a, b);
    await net.pass(10_000);
    // It begins in a minute by the clock of b, whose clock is right; that of a is ahead.
    const early = newMember(net.authority, {}, net.now() + 6 * 60_000);
    const [ab] = a.links;
    ab.send({ type: MessageType.MEMBERS, statements: [early.statement] });
    await net.pass(100);
    expect(b.book?.add(early.statement)).toBe('ignored');
    await net.pass(120_000);
    a.book?.add(early.statement);
    await net.pass(1_000);
    expect(b.book?.add(early.statement)).toBe('known');
  });

  it('asks one peer for nearly everything, and the others for the rest', async () => {
    const old = net.addAll(3);
    net.chain(...old);
    for (let count = 0; count < 200; count++) old[0].book?.add(newMember(net.authority, {}, net.now()).statement);
    await net.pass(5_000);
    const fresh = net.add();
    for (const node of old) net.link(fresh, node);
    await net.pass(5_000);
    expect(fresh.book?.digest()).toEqual(old[0].book?.digest());
    const sent = [...fresh.links].map(({ other }) => other.statements.length);
    expect(Math.max(...sent)).toBeGreaterThan(200);
    expect(sent.reduce((sum, count) => sum + count, 0)).toBeLessThan(220);
  });
});

describe('a peer that floods', () => {
  it('with known statements loses its link', async () => {
    const [a, b] = net.addAll(2);
    const [ab] = net.link(a, b);
    await net.pass(3_000);
    const statements = Array.from({ length: 60 }, () => a.member.statement);
    for (let sent = 0; sent < 500 && ab.other.isUp; sent++) {
      ab.send({ type: MessageType.MEMBERS, statements });
      if (sent % 50 === 0) await net.pass(10);
    }
    await net.pass(50);
    expect(codeOf(ab.other.error)).toBe('ERR_STARLANE_GOSSIP_FLOOD');
    expect(b.plane.isBanned(a.id)).toBe(false);
  });

  it('with hashes loses its link', async () => {
    const [a, b] = net.addAll(2);
    const [ab] = net.link(a, b);
    await net.pass(3_000);
    for (let round = 0; round < 40 && ab.other.isUp; round++) {
      const hashes = Array.from({ length: 4_096 }, (_, at) => (round * 4_096 + at).toString(16).padStart(16, '0'));
      ab.send({ type: MessageType.MEMBER_HASHES, isLast: false, hashes });
    }
    await net.pass(50);
    expect(codeOf(ab.other.error)).toBe('ERR_STARLANE_GOSSIP_FLOOD');
  });

  it('with statements of its own making has them checked slowly', async () => {
    const [a, b] = net.addAll(2);
    const [ab] = net.link(a, b);
    await net.pass(3_000);
    const foreign = newAuthority();
    const statements = Array.from({ length: 60 }, (_, at) =>
      foreign.revoke(Buffer.alloc(32, at), net.now() + 1_000_000, net.now()),
    );
    ab.send({ type: MessageType.MEMBERS, statements });
    net.clock.advance(5);
    expect(b.plane.members.isChecking(ab.other)).toBe(true);
    await net.pass(5);
    expect([b.plane.members.isChecking(ab.other), ab.isUp]).toEqual([false, true]);
  });
});

it('statements of a byte each cost their sender the link, long before they fill the memory', async () => {
  const [a, b] = net.addAll(2);
  const [ab, ba] = net.link(a, b);
  await net.until('in sync', () => a.synced.includes(ab) && b.synced.includes(ba));
  const statements = Array.from({ length: 20_000 }, () => Buffer.of(200));
  for (let sent = 0; sent < 10; sent++) ab.send({ type: MessageType.MEMBERS, statements });
  await net.pass(100);
  expect(codeOf(ba.error)).toBe('ERR_STARLANE_GOSSIP_FLOOD');
});
