// What every node makes of the rights in certificates: whole control planes, linked in memory.

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { codeOf } from '../../../lib/errors.js';
import { MessageType } from '../../../lib/wire/messages.js';
import { encodeNodeRecord, encodeShardRecord, type MeshRecord, NodeFlag } from '../../../lib/wire/records.js';
import type { TestMember } from '../../support/members.js';
import { newMember } from '../../support/members.js';
import { type MemberLink, MemberNet, type MemberNode } from '../member-net.js';

const LIFE_MS = 600_000;

let net: MemberNet;

beforeEach(() => {
  net = new MemberNet();
});

afterEach(() => net.dispose());

/** A record of a node, as it could make it itself. */
function nodeRecordOf({ identity }: TestMember, seq: number, flags: number, epoch = 1_000): MeshRecord {
  const header = { ...identity, epoch, seq, lifeS: 3_600 };
  return encodeNodeRecord({ ...header, flags, envDigests: [], addresses: [], links: [] }, identity.sign);
}

function shardOf({ identity }: TestMember, seq: number, service: string): MeshRecord {
  const header = { ...identity, epoch: 1_000, seq, lifeS: 3_600 };
  const services = [{ service, port: 0, weight: 1, meta: undefined }];
  return encodeShardRecord({ ...header, shard: 0, shards: 1, services }, identity.sign);
}

function publish(link: MemberLink, ...records: MeshRecord[]): void {
  link.send({ type: MessageType.RECORDS, records: records.map((record) => ({ record, remainingLifeS: 3_600 })) });
}

/** Three nodes in a row that know each other. */
async function row(...options: Array<Parameters<MemberNet['add']>[0]>): Promise<MemberNode[]> {
  const nodes = options.map((one) => net.add(one));
  net.chain(...nodes);
  await net.pass(5_000);
  return nodes;
}

describe('an offer', () => {
  it('counts everywhere by the newest certificate of its node, and as soon as that changes', async () => {
    const [a, , c] = await row({}, {}, {});
    a.bind('db1');
    a.bind('web');
    await net.pass(1_000);
    expect(c.services).toEqual(['db1', 'web']);
    // A node that goes on to offer what it may not: its own part is taken out.
    const narrow = net.renew(a, { rights: { offer: ['db*'] } });
    c.book?.add(narrow.statement);
    expect(c.services).toEqual(['db1']);
    await net.pass(2_000);
    const wide = newMember(net.authority, { name: 'member' }, net.now() + 2_000, a.identity);
    await net.pass(5_000);
    c.book?.add(wide.statement);
    await net.pass(1_000);
    expect(c.services).toEqual(['db1', 'web']);
    expect(c.links.size + a.links.size).toBe(2);
  });

  it('of what the certificate does not allow fails at bind, and is withdrawn when that changes', async () => {
    const [a, b] = await row({ rights: { offer: ['db*'] } }, {});
    expect(() => a.bind('web')).toThrow(
      expect.objectContaining({ code: 'EACCES', cause: expect.objectContaining({ code: 'ERR_STARLANE_RIGHT' }) }),
    );
    a.bind('db1');
    await net.pass(1_000);
    expect([a.services, b.services]).toEqual([['db1'], ['db1']]);
    await net.pass(2_000);
    a.book?.add(net.renew(a, { rights: { offer: ['web'] } }).statement);
    expect(a.warnings.map(codeOf)).toEqual(['ERR_STARLANE_RIGHT']);
    a.bind('web');
    await net.pass(3_000);
    expect([a.services, b.services]).toEqual([['web'], ['web']]);
    a.book?.add(net.renew(a).statement);
    await net.pass(3_000);
    expect([a.services, b.services]).toEqual([
      ['db1', 'web'],
      ['db1', 'web'],
    ]);
    a.plane.unbind('db1', 0);
    a.plane.unbind('web', 0);
    await net.pass(3_000);
    expect([a.services, b.services, b.links.size]).toEqual([[], [], 1]);
  });
});

describe('a node without the right to relay', () => {
  it('says so itself, and is on no path', async () => {
    const [a, b, c] = await row({}, { rights: { relay: false } }, {});
    expect(a.plane.gossip.store.node(b.id)?.flags).toBe(0);
    expect([a.reaches(b), a.reaches(c)]).toEqual([true, false]);
    b.book?.add(newMember(net.authority, { name: 'member' }, net.now(), b.identity).statement);
    await net.pass(3_000);
    expect([a.plane.gossip.store.node(b.id)?.flags, a.reaches(c)]).toEqual([NodeFlag.RELAY, true]);
  });

  it('is on no path whatever its record says', async () => {
    const [a, b, c] = await row({}, {}, {});
    expect(a.reaches(c)).toBe(true);
    a.book?.add(net.renew(b, { rights: { relay: false } }).statement);
    await net.pass(50);
    expect([a.reaches(b), a.reaches(c)]).toEqual([true, false]);
    expect(a.plane.neighbourhood.neighbours.relays).toBe(0);
  });
});

describe('a record of a node that is no member', () => {
  it('waits for the certificate, wherever that comes from', async () => {
    const [a, b] = await row({}, {});
    const [ab] = a.links;
    const late = newMember(net.authority, {}, net.now());
    publish(ab, nodeRecordOf(late, 1, NodeFlag.RELAY), shardOf(late, 2, 'web'));
    await net.pass(100);
    expect(b.plane.gossip.store.node(late.identity.nodeId)).toBeUndefined();
    b.book?.add(late.statement);
    expect(b.plane.gossip.store.node(late.identity.nodeId)?.seq).toBe(1);
    expect(b.plane.gossip.store.shardsOf(late.identity.nodeId)).toHaveLength(1);
    expect(ab.isUp).toBe(true);
  });

  it('does not wait when the membership has ended, and does not come back', async () => {
    const [a, b, c] = await row({}, {}, {});
    a.bind('web');
    await net.pass(1_000);
    const known = a.plane.gossip.store.node(a.id);
    b.book?.add(net.revocation(a));
    await net.pass(100);
    for (const node of [b, c]) {
      expect([node.plane.gossip.store.node(a.id), node.reaches(a), node.services]).toEqual([undefined, false, []]);
    }
    const [, bc] = b.links;
    publish(bc, known as MeshRecord);
    await net.pass(120_000);
    expect([b.plane.gossip.store.node(a.id), c.plane.gossip.store.node(a.id)]).toEqual([undefined, undefined]);
    expect([c.plane.members.rights.isBarred(a.id), bc.isUp]).toEqual([true, true]);
  });

  it('is forgotten when its certificate expires, and is back with the next one', async () => {
    const [a, b] = await row({ lifetimeMs: LIFE_MS }, {});
    a.bind('web');
    await net.pass(1_000);
    expect(b.services).toEqual(['web']);
    net.clock.advance(LIFE_MS);
    await net.pass(1_000);
    expect([b.reaches(a), b.services, b.plane.gossip.store.node(a.id)]).toEqual([false, [], undefined]);
    a.book?.add(net.renew(a).statement);
    await net.until('back', () => b.reaches(a) && b.services.length === 1, 120_000);
    expect(a.warnings).toEqual([]);
  });

  it('is of a member by its key, not by its node id alone', async () => {
    const [a, b] = await row({}, {});
    const [ab] = a.links;
    const victim = newMember(net.authority, {}, net.now());
    b.book?.add(victim.statement);
    const record = nodeRecordOf(victim, 1, 0);
    expect(b.plane.members.rights.hasMade(record)).toBe(true);
    expect(b.plane.members.rights.hasMade({ ...record, publicKey: a.identity.publicKey })).toBe(false);
    expect(ab.isUp).toBe(true);
  });
});

describe('a member that publishes more than it may', () => {
  it.each([
    ['that it relays', (one: TestMember) => nodeRecordOf(one, 1, NodeFlag.RELAY)],
    ['a service', (one: TestMember) => shardOf(one, 1, 'web')],
  ])('loses its own link: %s', async (_what, make) => {
    const [a, b] = await row({ rights: { relay: false, offer: ['db*'] } }, {});
    const [ab] = a.links;
    publish(ab, make(a.member));
    await net.pass(50);
    expect(codeOf(ab.other.error)).toBe('ERR_STARLANE_RIGHT');
    expect(b.plane.isBanned(a.id)).toBe(true);
  });

  it('costs those nothing who pass it on', async () => {
    const [a, , c] = await row({ rights: { relay: false, offer: ['db*'] } }, {}, {});
    const [, bc] = [...c.links];
    const [cb] = c.links;
    publish(cb.other, nodeRecordOf(a.member, 1, NodeFlag.RELAY), shardOf(a.member, 2, 'web'));
    await net.pass(50);
    expect([bc, cb.isUp, c.services]).toEqual([undefined, true, []]);
    expect(c.plane.gossip.store.node(a.id)?.seq).toBe(1);
  });

  it('has half a minute to follow a certificate that takes rights', async () => {
    const [a, b] = await row({}, {});
    const [ab] = a.links;
    b.book?.add(net.renew(a, { rights: { relay: false } }).statement);
    publish(ab, nodeRecordOf(a.member, 1, NodeFlag.RELAY));
    await net.pass(50);
    expect([ab.isUp, b.plane.mayRelay(a.id)]).toEqual([true, false]);
    await net.pass(30_000);
    publish(ab, nodeRecordOf(a.member, 1, NodeFlag.RELAY, 2_000));
    await net.pass(50);
    expect(codeOf(ab.other.error)).toBe('ERR_STARLANE_RIGHT');
  });
});

describe('in a network that is gaining an authority', () => {
  it('a node without a certificate has all rights, until it is revoked', async () => {
    const a = net.add({ hasBook: false });
    const [b, c] = net.addAll(2, { acceptsSecret: true });
    net.chain(b, a, c);
    a.bind('web');
    await net.pass(5_000);
    expect([b.services, b.reaches(c), c.reaches(b)]).toEqual([['web'], true, true]);
    b.book?.add(net.revocation(a));
    await net.pass(100);
    expect([b.services, b.reaches(a), b.reaches(c)]).toEqual([[], false, false]);
  });
});

describe('neighbours', () => {
  it('are not sought among nodes that are no members', async () => {
    const [a, , c] = await row({}, {}, {});
    c.book?.add(net.revocation(a));
    await expect(c.plane.shortcuts.request(a.id)).rejects.toMatchObject({ code: 'ERR_STARLANE_CERTIFICATE' });
  });
});
