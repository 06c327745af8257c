// Random records, and a few that are always at hand.

import fc from 'fast-check';
import { nodeIdFromBytes } from '../../lib/address.js';
import {
  encodeNodeRecord,
  encodeShardRecord,
  MAX_LIFE_S,
  type MeshRecord,
  type NodeRecord,
  type NodeRecordFields,
  type ServiceEntry,
  type ShardRecord,
  type ShardRecordFields,
  shardOfService,
} from '../../lib/wire/records.js';
import { byte, bytesOf, nodeId, serviceName, uint16, uint32 } from './arbitraries.js';

/** Codecs do not look at signatures: any 64 bytes will do. */
export const noSignature = (): Uint8Array => Buffer.alloc(64, 0x5a);

const header = {
  publicKey: bytesOf(32).map((bytes) => Buffer.from(bytes)),
  bootId: fc.uuid(),
  epoch: uint32,
  seq: uint32,
  lifeS: fc.integer({ min: 1, max: MAX_LIFE_S }),
};

export const serviceEntry: fc.Arbitrary<ServiceEntry> = fc.record(
  {
    service: serviceName,
    port: uint32,
    weight: byte,
    meta: fc.option(
      fc.jsonValue({ maxDepth: 2 }).map((value) => JSON.parse(JSON.stringify(value))),
      { nil: undefined },
    ),
    instance: fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9_-]{0,8}$/),
  },
  { requiredKeys: ['service', 'port', 'weight', 'meta'] },
);

const address = fc.stringMatching(/^(tcp|tls):\/\/[a-z0-9]{1,20}:[1-9][0-9]{0,3}$/);
const digest = bytesOf(8).map((bytes) => Buffer.from(bytes).toString('hex'));

export const nodeFields: fc.Arbitrary<NodeRecordFields> = fc.record({
  ...header,
  flags: uint16,
  envDigests: fc.uniqueArray(digest, { maxLength: 16 }),
  addresses: fc.uniqueArray(address, { maxLength: 8 }),
  links: fc.uniqueArray(fc.record({ peerId: nodeId, cost: byte }), { maxLength: 128, selector: (link) => link.peerId }),
});

export const shardFields: fc.Arbitrary<ShardRecordFields> = fc
  .record({
    ...header,
    shard: fc.nat({ max: 7 }),
    shards: fc.constantFrom(1, 2, 4, 8),
    all: fc.uniqueArray(serviceEntry, { maxLength: 12, selector: (entry) => `${entry.service}:${entry.port}` }),
  })
  .map(({ all, shard, shards, ...fields }) => {
    const mine = shard % shards;
    const services = all.filter((entry) => shardOfService(entry.service, entry.port, shards) === mine);
    return { ...fields, shard: mine, shards, services };
  });

export const nodeRecord: fc.Arbitrary<NodeRecord> = nodeFields.map((fields) => encodeNodeRecord(fields, noSignature));
export const shardRecord: fc.Arbitrary<ShardRecord> = shardFields.map((fields) =>
  encodeShardRecord(fields, noSignature),
);
export const meshRecord: fc.Arbitrary<MeshRecord> = fc.oneof(nodeRecord, shardRecord);

export const SOME_NODE_FIELDS: NodeRecordFields = {
  publicKey: Buffer.alloc(32, 0x11),
  bootId: '00112233-4455-6677-8899-aabbccddeeff',
  epoch: 1,
  seq: 2,
  lifeS: 3_600,
  flags: 1,
  envDigests: ['e3b0c44298fc1c14'],
  addresses: ['tcp://h:1'],
  links: [{ peerId: nodeIdFromBytes(Buffer.from('0001020304050607', 'hex')), cost: 9 }],
};

export const SOME_SHARD_FIELDS: ShardRecordFields = {
  publicKey: Buffer.alloc(32, 0x11),
  bootId: '00112233-4455-6677-8899-aabbccddeeff',
  epoch: 1,
  seq: 2,
  lifeS: 3_600,
  shard: 0,
  shards: 1,
  services: [
    { service: 'b', port: 80, weight: 1, meta: { zone: 'x' } },
    { service: 'a', port: 0, weight: 2, meta: undefined },
  ],
};
