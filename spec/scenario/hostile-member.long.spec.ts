// A member of a live mesh that spreads false records. Each time the others continue to serve each other, as
// fast as before and in as much memory, and only its own link is lost. Attacks on the node that it is linked to are in
// hostile-link.long.spec.ts.

import { once } from 'node:events';
import { describe, expect, it } from '@jest/globals';
import { nodeIdFromBytes } from '../../lib/address.js';
import { createIdentity } from '../../lib/identity/identity.js';
import type { Node } from '../../lib/index.js';
import { encodeAuth, encodeMessageOf, GoodbyeCode, type Message, MessageType } from '../../lib/wire/messages.js';
import type { MeshRecord, ServiceEntry } from '../../lib/wire/records.js';
import { AttackedMesh, LIMITS } from '../support/attacked-mesh.js';
import { within } from '../support/deadline.js';
import { forged, HostileMember } from '../support/hostile-member.js';
import { turn, turnsUntil } from '../support/turns.js';

const scene = new AttackedMesh();

/** The record that the member gets of a node: the node publishes it because it changes. */
async function recordFrom(offender: HostileMember, node: Node): Promise<MeshRecord[]> {
  const server = node.bind('something-new');
  await within(
    'a record of it',
    offender.until(() => recordsOf(offender, node.id).length > 0),
  );
  server.close();
  return recordsOf(offender, node.id);
}

function recordsOf({ messages }: HostileMember, nodeId: string): MeshRecord[] {
  return messages.flatMap((message: Message) =>
    'records' in message
      ? message.records.map(({ record }) => record).filter((record) => record.nodeId === nodeId)
      : [],
  );
}

function services(count: number, prefix = 's'): ServiceEntry[] {
  return Array.from({ length: count }, (_, n) => ({ service: `${prefix}${n}`, port: 0, weight: 1, meta: undefined }));
}

describe('A member that spreads false records:', () => {
  it('records with wrong signatures end its link, and it is not linked again', async () => {
    const offender = await scene.member();
    const [record] = await recordFrom(offender, scene.mesh.nodes[0]);
    await scene.keepsServing(async () => {
      for (let time = 0; time < 3; time++) offender.publishBytes(forged(record, record.seq + 10 + time));
      await scene.isCutOff(offender, 'ERR_STARLANE_RECORD');
    });
    const again = await scene.member(2, { identity: offender.identity, says: false });
    again.say(again.hello());
    await within('the refusal', again.over());
    expect(again.goodbye).toBe(GoodbyeCode.LIMIT);
  });

  it('old records of others change nothing, and end its link when there are too many', async () => {
    const offender = await scene.member();
    const old = await recordFrom(offender, scene.mesh.nodes[0]);
    const copies = Array.from({ length: 100 }, (_, n) => ({ record: old[n % old.length], remainingLifeS: 60 }));
    const many = encodeMessageOf({ type: MessageType.RECORDS, records: copies });
    const server = scene.mesh.nodes[0].bind('newer');
    await scene.mesh.nodes[2].waitFor('newer');
    await scene.keepsServing(async () => {
      for (let time = 0; time < 5_000 && offender.ended === undefined; time++) {
        offender.say(many);
        await turn();
      }
      await scene.isCutOff(offender, 'ERR_STARLANE_GOSSIP_FLOOD');
    });
    expect(scene.mesh.nodes[2].serviceMap().has('newer')).toBe(true);
    server.close();
  });

  it('a proof of another link proves nothing', async () => {
    const earlier = await scene.member();
    let offender: HostileMember | undefined;
    await scene.keepsServing(async () => {
      // Only now: it has little time for its handshake.
      offender = await scene.member(2, { identity: earlier.identity, says: false });
      offender.provesItself = false;
      offender.say(offender.hello(), encodeAuth(earlier.auth()));
      await offender.over();
    });
    expect(offender?.goodbye).toBe(GoodbyeCode.IDENTITY);
    expect(scene.mesh.warnings[2]).toContain('ERR_STARLANE_IDENTITY');
    scene.isStillLinked(earlier);
  });

  it('two records with one sequence number: all nodes take the same one, and warn of the conflict', async () => {
    const offender = await scene.member(1);
    const elsewhere = await scene.member(2, { identity: offender.identity });
    await scene.keepsServing(async () => {
      offender.publish([offender.node({ seq: 5, flags: 1 })]);
      elsewhere.publish([offender.node({ seq: 5, flags: 0 })]);
      const isTold = (): boolean => scene.mesh.warnings.flat().includes('ERR_STARLANE_DUPLICATE_IDENTITY');
      await turnsUntil('it is noticed', isTold, 10_000_000);
    });
  });

  it('the highest sequence number, after which it cannot publish any more', async () => {
    const offender = await scene.member();
    await scene.keepsServing(async () => {
      offender.publish([
        offender.node({ epoch: 0xffff_ffff, seq: 0xffff_ffff }),
        ...offender.layout(services(1, 'last'), 1),
      ]);
      offender.publish([offender.node({ epoch: 1, seq: 0xffff_ffff })]);
      for (let turns = 0; turns < 50; turns++) await turn();
    });
    scene.isStillLinked(offender);
  });

  it('20,000 services: only as many as one node may have are seen, and no service of others is evicted', async () => {
    const offender = await scene.member();
    const shards = offender.layout(services(20_000), 64);
    const known = scene.mesh.nodes[2].stats().services.instances;
    await scene.keepsServing(async () => {
      offender.publish([offender.node({ links: [{ peerId: scene.mesh.nodes[2].id, cost: 1 }] }), ...shards]);
      await turnsUntil(
        'it is too many',
        () => scene.mesh.warnings[2].includes('ERR_STARLANE_SERVICE_LIMIT'),
        10_000_000,
      );
    });
    expect(scene.mesh.nodes[2].stats().services.instances).toBeLessThanOrEqual(known + LIMITS.maxServicesPerPeer);
    expect(scene.mesh.nodes[0].serviceMap().has('echo-1')).toBe(true);
    scene.isStillLinked(offender);
  });
});

describe('A member that uses hostile names:', () => {
  it('the id of a node and the property names of every object are ordinary names', async () => {
    const offender = await scene.member();
    const [{ id }, two, three] = scene.mesh.nodes;
    const names = [id, three.id, '__proto__', 'constructor', 'toString', 'AAAAAAAAAAA'];
    const server = three.bind(':77', (socket) => socket.end('three'));
    await scene.keepsServing(async () => {
      const entries = names.map((service) => ({
        service,
        port: 0,
        weight: 1,
        meta: JSON.parse('{"__proto__":{"x":1}}'),
      }));
      offender.publish([offender.node({ links: [{ peerId: three.id, cost: 1 }] }), ...offender.layout(entries, 1)]);
      await three.waitFor('AAAAAAAAAAA');
    });
    for (const name of names) {
      expect(
        three
          .services()
          .filter(({ service }) => service === name)
          .map(({ nodeId }) => nodeId),
      ).toEqual([offender.identity.nodeId]);
    }
    // An id addresses a node, whatever names its services have.
    const socket = two.dial(`@${three.id}:77`);
    await once(socket, 'connect');
    expect(socket.peer).toMatchObject({ id: three.id });
    socket.destroy();
    await expect(two.dialTimeout('hasOwnProperty', 50)).rejects.toMatchObject({ code: 'ENOTFOUND' });
    expect(({} as { x?: number }).x).toBeUndefined();
    server.close();
  });

  it.each([
    ['is not UTF-8', Buffer.from([0xff, 0xfe])],
    ['begins with @', Buffer.from('@x')],
    ['has a control character', Buffer.from('a\u0000')],
    ['is too long a way of writing another', Buffer.from([0xc0, 0xae])],
  ])('one that %s ends its link', async (_what, name) => {
    const offender = await scene.member();
    await scene.keepsServing(async () => {
      offender.publishBytes(offender.shardNamed(name));
      await scene.isCutOff(offender, 'ERR_STARLANE_MESSAGE');
    });
  });
});

// At the end: for ten seconds, the invented nodes take the places of others.
describe('A member that invents nodes:', () => {
  it('links that it does not have, to existing nodes and to a thousand invented ones', async () => {
    const offender = await scene.member();
    const invented = Array.from({ length: 1_000 }, () => createIdentity());
    const peers = [
      ...scene.mesh.nodes.map(({ id }) => id),
      ...Array.from({ length: 120 }, (_, n) => nodeIdFromBytes(Buffer.alloc(8, n))),
    ];
    const links = [...new Set(peers)].map((peerId) => ({ peerId, cost: 0 }));
    const back = [
      { peerId: offender.identity.nodeId, cost: 0 },
      ...scene.mesh.nodes.map(({ id }) => ({ peerId: id, cost: 0 })),
    ];
    const records = invented.map(({ publicKey, bootId, sign }) =>
      HostileMember.nodeOf({ publicKey, bootId, links: back }, sign),
    );
    await scene.keepsServing(async () => {
      offender.publish([offender.node({ seq: 9, links }), ...records]);
      await turnsUntil('there is no room', () => scene.mesh.nodes[2].stats().mesh.rejected > 0, 10_000_000);
    });
    for (const node of scene.mesh.nodes) {
      expect(node.stats().mesh.records).toBeLessThanOrEqual(3 * LIMITS.maxNodes);
      for (const { id } of scene.mesh.nodes) {
        if (id !== node.id) expect(node.routesMap().get(id)).toMatchObject({ nextHop: id, hops: 1 });
      }
    }
  });
});
