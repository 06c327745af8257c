import { createHash } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { nodeIdFromPublicKey } from '../../lib/address.js';
import { FieldReader } from '../../lib/wire/fields.js';
import {
  byteToCostMs,
  COST_UNUSABLE,
  costToByte,
  decodeRecord,
  decodeServiceEntry,
  encodeNodeRecord,
  encodeServiceEntry,
  encodeShardRecord,
  MAX_NODE_RECORD_BYTES,
  MAX_SHARD_RECORD_BYTES,
  type MeshRecord,
  type NodeRecordFields,
  type ServiceEntry,
  type ShardRecord,
  type ShardRecordFields,
  SignedRecords,
  shardOfService,
  signatureOf,
  signedPart,
} from '../../lib/wire/records.js';
import { nodeOf } from '../mesh/signed-records.js';
import { damaged, serviceName, uint32 } from '../support/arbitraries.js';
import { createTestIdentity, verifyRecord } from '../support/identities.js';
import {
  meshRecord,
  nodeFields,
  noSignature,
  SOME_NODE_FIELDS,
  SOME_SHARD_FIELDS,
  serviceEntry,
  shardFields,
} from '../support/record-arbitraries.js';
import { thrownCode } from '../support/thrown.js';

const HEADER_HEX = `${'11'.repeat(32)} 00112233445566778899aabbccddeeff 00000001 00000002 00000e10`;
const SIGNATURE_HEX = '5a'.repeat(64);

function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(/\s/g, ''), 'hex');
}

/** A NODE record around a body that no encoder would write. */
function rawNode(body: string): Buffer {
  return hex(`01 01 0001 ${HEADER_HEX} ${body} ${SIGNATURE_HEX}`);
}

function rawShard(body: string, flags = '0000'): Buffer {
  return hex(`01 02 ${flags} ${HEADER_HEX} ${body} ${SIGNATURE_HEX}`);
}

describe('records', () => {
  it('have the bytes of the protocol', () => {
    const node = encodeNodeRecord(SOME_NODE_FIELDS, noSignature);
    expect(node.bytes).toEqual(rawNode('01 e3b0c44298fc1c14  01 09 7463703a2f2f683a31  01 0001020304050607 09  0000'));
    const shard = encodeShardRecord(SOME_SHARD_FIELDS, noSignature);
    expect(shard.bytes).toEqual(
      rawShard('0000 0001 0002  01 61 00000000 02 0000  01 62 00000050 01 000c 7b227a6f6e65223a2278227d  0000'),
    );
  });

  it('of nodes are read as they were written, their lists sorted', () => {
    fc.assert(
      fc.property(nodeFields, (fields) => {
        const record = encodeNodeRecord(fields, noSignature);
        const { kind, key, nodeId, bytes, hashHigh, hashLow, ...read } = decodeRecord(record.bytes) as typeof record;
        const links = [...fields.links].sort((a, b) =>
          Buffer.compare(Buffer.from(a.peerId, 'base64url'), Buffer.from(b.peerId, 'base64url')),
        );
        expect(read).toEqual({ ...fields, envDigests: [...fields.envDigests].sort(), links });
        expect({ kind, key, nodeId }).toEqual({ kind: 1, key: nodeId, nodeId: nodeIdFromPublicKey(fields.publicKey) });
        expect([hashHigh, hashLow]).toEqual([record.hashHigh, record.hashLow]);
      }),
    );
  });

  it('of shards are read as they were written, their services sorted', () => {
    fc.assert(
      fc.property(shardFields, (fields) => {
        const record = encodeShardRecord(fields, noSignature);
        const { kind, key, nodeId, bytes, hashHigh, hashLow, flags, ...read } = decodeRecord(
          record.bytes,
        ) as typeof record;
        expect({ ...read, services: new Set(read.services) }).toEqual({
          ...fields,
          services: new Set(fields.services),
        });
        expect({ kind, flags }).toEqual({ kind: 2, flags: 0 });
        expect(key).toBe(`${nodeIdFromPublicKey(fields.publicKey)}/${fields.shard}/${fields.shards}`);
        expect([hashHigh, hashLow]).toEqual([record.hashHigh, record.hashLow]);
      }),
    );
  });

  it('have one form: whatever is read is written with the same bytes', () => {
    fc.assert(
      fc.property(meshRecord, (record) => {
        const again =
          record.kind === 1 ? encodeNodeRecord(record, noSignature) : encodeShardRecord(record, noSignature);
        expect(again.bytes.equals(record.bytes)).toBe(true);
      }),
    );
  });

  it('are hashed whole, and signed up to the signature behind a text of their own', () => {
    const identity = createTestIdentity();
    let signed: Uint8Array = Buffer.alloc(0);
    const record = encodeNodeRecord({ ...SOME_NODE_FIELDS, publicKey: identity.publicKey }, (bytes) => {
      signed = bytes;
      return identity.sign(bytes);
    });
    expect(Buffer.from(signedPart(record))).toEqual(
      Buffer.concat([Buffer.from('starlane record 1\n'), record.bytes.subarray(0, -64)]),
    );
    expect(Buffer.from(signed)).toEqual(Buffer.from(signedPart(record)));
    expect(Buffer.from(signatureOf(record))).toEqual(record.bytes.subarray(-64));
    const digest = createHash('sha256').update(record.bytes).digest();
    expect([record.hashHigh, record.hashLow]).toEqual([digest.readUInt32BE(0), digest.readUInt32BE(4)]);
    expect(verifyRecord(record)).toBe(true);
    expect(verifyRecord(decodeRecord(record.bytes))).toBe(true);
    const forged = Buffer.from(record.bytes);
    forged[3] ^= 2;
    expect(verifyRecord(decodeRecord(forged))).toBe(false);
  });

  it('do not share bytes with the input, which may be reused', () => {
    const { bytes } = encodeNodeRecord(SOME_NODE_FIELDS, noSignature);
    const input = Buffer.from(bytes);
    const record = decodeRecord(input);
    input.fill(0);
    expect(record.bytes).toEqual(bytes);
    expect(Buffer.from(record.publicKey)).toEqual(Buffer.alloc(32, 0x11));
  });

  it('may have an extension that a later version knows, and it stays in their bytes', () => {
    const bytes = rawNode('00 00 00 0003 aabbcc');
    expect(decodeRecord(bytes)).toMatchObject({ kind: 1, links: [] });
    expect(decodeRecord(bytes).bytes).toEqual(bytes);
  });

  const INSTANCES = '0000 0001 0002  01 61 00000000 02 0000  01 62 00000050 01 0000';
  const namesOf = (bytes: Buffer): unknown[] =>
    (decodeRecord(bytes) as ShardRecord).services.map(({ instance }) => instance);

  it('have the names of instances in the extension, where the version before skips them', () => {
    const services = [
      { service: 'b', port: 80, weight: 1, meta: undefined, instance: 'b-0' },
      { service: 'a', port: 0, weight: 2, meta: undefined },
    ];
    const { bytes } = encodeShardRecord({ ...SOME_SHARD_FIELDS, services }, noSignature);
    expect(bytes).toEqual(rawShard(`${INSTANCES} 0009 01 0006 0001 03 622d30`));
    expect(namesOf(bytes)).toEqual([undefined, 'b-0']);
    expect(() =>
      encodeShardRecord({ ...SOME_SHARD_FIELDS, services: [{ ...services[0], instance: 'b.0' }] }, noSignature),
    ).toThrow('an instance called b.0');
  });

  it.each([
    ['of a later version', '0005 02 0002 aabb', [undefined, undefined]],
    ['of a later version and this one', '000c 02 0002 aabb 01 0004 0000 01 30', ['0', undefined]],
    ['twice, of which the first counts', '000e 01 0004 0000 01 30 01 0004 0001 01 31', ['0', undefined]],
    ['out of order', '000b 01 0008 0001 01 30 0000 01 31', [undefined, undefined]],
    ['of a service that is not there', '0007 01 0004 0002 01 30', [undefined, undefined]],
    ['with a dot', '0007 01 0004 0000 01 2e', [undefined, undefined]],
    ['that end too early', '0006 01 0004 0000 01', [undefined, undefined]],
    ['that go beyond their field', '0008 01 0004 0000 02 3030', [undefined, undefined]],
    ['that are no extension', '0002 01 00', [undefined, undefined]],
  ])('keep what other versions would keep: instances %s', (_what, extension, names) => {
    const bytes = rawShard(`${INSTANCES} ${extension}`);
    expect(namesOf(bytes)).toEqual(names);
    expect(decodeRecord(bytes).bytes).toEqual(bytes);
  });

  const service = '01 61 00000050 01 0000';
  it.each<[string, Buffer]>([
    ['no bytes', Buffer.alloc(0)],
    ['a header alone', hex(`01 01 0001 ${HEADER_HEX}`)],
    ['a later version', hex(`02 01 0001 ${HEADER_HEX} 00 00 00 0000 ${SIGNATURE_HEX}`)],
    ['an unknown kind', hex(`01 03 0000 ${HEADER_HEX} 00 00 00 0000 ${SIGNATURE_HEX}`)],
    ['no life', hex(`01 01 0001 ${HEADER_HEX.slice(0, -8)}00000000 00 00 00 0000 ${SIGNATURE_HEX}`)],
    ['a life beyond a day', hex(`01 01 0001 ${HEADER_HEX.slice(0, -8)}00015181 00 00 00 0000 ${SIGNATURE_HEX}`)],
    ['bytes behind the extension', rawNode('00 00 00 0000 00')],
    ['an extension that is not all there', rawNode('00 00 00 0001')],
    ['too many envs', rawNode(`11 ${'0000000000000000'.repeat(17)} 00 00 0000`)],
    ['envs out of order', rawNode('02 0200000000000000 0100000000000000 00 00 0000')],
    ['an env twice', rawNode('02 0100000000000000 0100000000000000 00 00 0000')],
    [
      'too many addresses',
      rawNode(
        `00 09 ${['01', '02', '03', '04', '05', '06', '07', '08', '09'].map((n) => `023a3${n[1]}`).join('')} 00 0000`,
      ),
    ],
    ['an address twice', rawNode('00 02 0161 0161 00 0000')],
    ['an empty address', rawNode('00 01 00 00 0000')],
    ['an address with a control character', rawNode('00 01 0107 00 0000')],
    ['an address that is not UTF-8', rawNode('00 01 01ff 00 0000')],
    [
      'too many links',
      rawNode(`00 00 81 ${Array.from({ length: 129 }, (_, n) => n.toString(16).padStart(16, '0')).join('01')}01 0000`),
    ],
    ['links out of order', rawNode('00 00 02 0200000000000000 01 0100000000000000 01 0000')],
    ['a link twice', rawNode('00 00 02 0100000000000000 01 0100000000000000 02 0000')],
    ['a NODE that is too long', rawNode(`00 00 00 1000 ${'00'.repeat(4_096)}`)],
    ['flags on a shard', rawShard('0000 0001 0000 0000', '0001')],
    ['a shard that is none', rawShard('0001 0001 0000 0000')],
    ['no shards', rawShard('0000 0000 0000 0000')],
    ['shards that are no power of two', rawShard('0000 0003 0000 0000')],
    ['too many shards', rawShard('0000 0400 0000 0000')],
    ['more services than are there', rawShard(`0000 0001 0002 ${service} 0000`)],
    ['a service twice', rawShard(`0000 0001 0002 ${service} ${service} 0000`)],
    ['services out of order', rawShard(`0000 0001 0002 0162 00000050 01 0000 ${service} 0000`)],
    ['ports out of order', rawShard(`0000 0001 0002 0161 00000051 01 0000 ${service} 0000`)],
    ['a service without a name', rawShard('0000 0001 0001 00 00000050 01 0000 0000')],
    ['a meta that is not JSON', rawShard('0000 0001 0001 0161 00000050 01 0001 7b 0000')],
    [
      'too many services',
      rawShard(
        `0000 0001 0201 ${Array.from({ length: 513 }, (_, n) => `0161 ${n.toString(16).padStart(8, '0')} 01 0000`).join('')} 0000`,
      ),
    ],
  ])('are refused with %s', (_what, bytes) => {
    expect(thrownCode(() => decodeRecord(bytes))).toBe('ERR_STARLANE_RECORD');
  });

  it('of shards are refused with a service that belongs to another shard, and too long', () => {
    const wrong = 1 - shardOfService('a', 80, 2);
    expect(thrownCode(() => decodeRecord(rawShard(`000${wrong} 0002 0001 ${service} 0000`)))).toBe(
      'ERR_STARLANE_RECORD',
    );
    expect(decodeRecord(rawShard(`000${1 - wrong} 0002 0001 ${service} 0000`))).toMatchObject({ shards: 2 });
    const rest = MAX_SHARD_RECORD_BYTES - rawShard('0000 0001 0000 0000').length;
    const long = (length: number): Buffer =>
      rawShard(`0000 0001 0000 ${length.toString(16).padStart(4, '0')} ${'00'.repeat(length)}`);
    expect(decodeRecord(long(rest)).bytes).toHaveLength(MAX_SHARD_RECORD_BYTES);
    expect(thrownCode(() => decodeRecord(long(rest + 1)))).toBe('ERR_STARLANE_RECORD');
  });

  it('are refused by their encoders when a field does not fit', () => {
    const node = (fields: Partial<NodeRecordFields>) => (): unknown =>
      encodeNodeRecord({ ...SOME_NODE_FIELDS, ...fields }, noSignature);
    const shard = (fields: Partial<ShardRecordFields>) => (): unknown =>
      encodeShardRecord({ ...SOME_SHARD_FIELDS, ...fields }, noSignature);
    const link = SOME_NODE_FIELDS.links[0];
    const entry = SOME_SHARD_FIELDS.services[0];
    const bad = [
      node({ epoch: 2 ** 32 }),
      node({ seq: -1 }),
      node({ lifeS: 0 }),
      node({ flags: 0x1_0000 }),
      node({ publicKey: Buffer.alloc(31) }),
      node({ bootId: 'none' }),
      node({ envDigests: new Array(17).fill(0).map((_, n) => n.toString(16).padStart(16, '0')) }),
      node({ envDigests: ['short'] }),
      node({ addresses: ['x'.repeat(256)] }),
      node({ addresses: ['a', 'a'] }),
      node({ links: [link, link] }),
      node({ links: [{ ...link, cost: 256 }] }),
      node({ links: new Array(300).fill(link) }),
      shard({ shard: 1 }),
      shard({ shards: 3 }),
      shard({ services: [entry, entry] }),
      shard({ services: [{ ...entry, weight: 256 }] }),
      shard({ services: [{ ...entry, service: 'a:b' }] }),
      shard({ services: [{ ...entry, meta: 'x'.repeat(4_096) }] }),
      shard({ services: Array.from({ length: 513 }, (_, port) => ({ service: 'a', port, weight: 1 })) }),
      () => encodeNodeRecord(SOME_NODE_FIELDS, () => Buffer.alloc(63)),
    ];
    for (const encode of bad) expect(thrownCode(encode)).toBe('ERR_STARLANE_MESSAGE');
  });

  it('fit their limits when every list is full', () => {
    const links = Array.from({ length: 128 }, (_, n) => {
      const id = Buffer.alloc(8);
      id[7] = n;
      return { peerId: id.toString('base64url'), cost: n };
    });
    const addresses = Array.from({ length: 8 }, (_, n) => `${n}`.repeat(255));
    const envDigests = Array.from({ length: 16 }, (_, n) => n.toString(16).padStart(16, '0'));
    const node = encodeNodeRecord({ ...SOME_NODE_FIELDS, links, addresses, envDigests }, noSignature);
    expect(node.bytes.length).toBeLessThanOrEqual(MAX_NODE_RECORD_BYTES);
  });

  it('never throw anything but a coded error', () => {
    const hostile = fc.oneof(
      damaged(meshRecord.map((record) => record.bytes)),
      fc.uint8Array({ maxLength: 400 }).map((bytes) => Buffer.from(bytes)),
    );
    fc.assert(
      fc.property(hostile, (bytes) => {
        expect([undefined, 'ERR_STARLANE_RECORD']).toContain(thrownCode(() => decodeRecord(bytes)));
      }),
      { numRuns: 3_000 },
    );
  });

  it('spread services evenly, and a doubling splits each shard in two', () => {
    const counts = new Array(16).fill(0);
    for (let port = 0; port < 16_000; port++) counts[shardOfService('service', port, 16)]++;
    for (const count of counts) expect(Math.abs(count - 1_000)).toBeLessThan(150);
    fc.assert(
      fc.property(serviceName, uint32, (name, port) => {
        expect(shardOfService(name, port, 1)).toBe(0);
        for (let shards = 2; shards <= 512; shards *= 2) {
          expect(shardOfService(name, port, shards) % (shards / 2)).toBe(shardOfService(name, port, shards / 2));
        }
      }),
    );
  });
});

describe('the cost of a link', () => {
  it('takes one byte, in steps of 9 %', () => {
    expect([0, 0.05, 0.1].map(costToByte)).toEqual([0, 0, 0]);
    for (let byte = 0; byte < COST_UNUSABLE; byte++) expect(costToByte(byteToCostMs(byte))).toBe(byte);
    for (const ms of [0.2, 1, 5, 42, 333, 60_000]) {
      expect(Math.abs(byteToCostMs(costToByte(ms)) / ms - 1)).toBeLessThan(0.045);
    }
    expect(costToByte(Number.POSITIVE_INFINITY)).toBe(COST_UNUSABLE - 1);
    expect(costToByte(Number.NaN)).toBe(0);
    expect(byteToCostMs(COST_UNUSABLE)).toBe(Number.POSITIVE_INFINITY);
  });
});

describe('records whose signatures were checked', () => {
  it('are found by their bytes', () => {
    const records = new SignedRecords<MeshRecord>();
    const record = nodeOf('a');
    expect(records.find(record.bytes)).toBeUndefined();
    records.add(record);
    records.add(record);
    expect(records.find(Buffer.from(record.bytes))).toBe(record);
    expect(records.size).toBe(1);
  });

  it('are not found by any other bytes', () => {
    const records = new SignedRecords<MeshRecord>();
    const { bytes } = nodeOf('a');
    records.add(nodeOf('a'));
    for (let at = 0; at < bytes.length; at++) {
      const other = Buffer.from(bytes);
      other[at] ^= 1;
      expect(records.find(other)).toBeUndefined();
    }
    expect(records.find(bytes.subarray(1))).toBeUndefined();
  });

  it('are so many at most, the last ones', () => {
    const records = new SignedRecords<MeshRecord>(3);
    const all = ['a', 'b', 'c', 'd'].map((name) => nodeOf(name));
    for (const record of all) records.add(record);
    expect(records.size).toBe(3);
    expect(all.map(({ bytes }) => records.find(bytes))).toEqual([undefined, ...all.slice(1)]);
  });
});

function decode(bytes: Uint8Array): ServiceEntry {
  return decodeServiceEntry(new FieldReader(bytes));
}

describe('an entry of a service', () => {
  it('has the bytes of the protocol', () => {
    const bytes = encodeServiceEntry({ service: 'a', port: 80, weight: 1, meta: {} });
    expect(bytes.toString('hex')).toBe('0161' + '00000050' + '01' + '00027b7d');
    expect(encodeServiceEntry({ service: 'a', port: 0, weight: 2 }).toString('hex')).toBe(
      '0161' + '00000000' + '020000',
    );
  });

  it('is read as it was written', () => {
    fc.assert(
      fc.property(serviceEntry, ({ instance: _instance, ...entry }) => {
        expect(decode(encodeServiceEntry(entry))).toEqual(entry);
      }),
    );
  });

  it('keeps names such as __proto__ as plain data', () => {
    const meta = JSON.parse('{"__proto__":{"bad":1}}');
    const entry = decode(encodeServiceEntry({ service: '__proto__', port: 1, weight: 1, meta }));
    expect(entry.service).toBe('__proto__');
    expect(({} as { bad?: number }).bad).toBeUndefined();
    expect(Object.keys(entry.meta as object)).toEqual(['__proto__']);
  });

  it('is refused by its encoder when a field does not fit', () => {
    const circular: { self?: unknown } = {};
    circular.self = circular;
    const entry = { service: 'a', port: 1, weight: 1 };
    const bad: ServiceEntry[] = [
      { ...entry, service: '' },
      { ...entry, service: 'a:80' },
      { ...entry, port: 2 ** 32 },
      { ...entry, port: 0.5 },
      { ...entry, weight: 256 },
      { ...entry, meta: 'x'.repeat(4_095) },
      { ...entry, meta: circular },
      { ...entry, meta: 5n },
      { ...entry, meta: () => {} },
    ];
    for (const one of bad) expect(thrownCode(() => encodeServiceEntry(one))).toBe('ERR_STARLANE_MESSAGE');
    expect(encodeServiceEntry({ ...entry, meta: 'x'.repeat(4_094) })).toHaveLength(2 + 4 + 1 + 2 + 4_096);
  });

  it.each([
    ['without a name', '00000000500100007b7d'],
    ['with a name that is longer than what is there', 'ff616161'],
    ['with a name that is not UTF-8', '01ff00000000010000'],
    ['with an overlong encoding', '02c18100000000010000'],
    ['with a control character', '010a00000000010000'],
    ['without a port', '0161'],
    ['with a meta that ends early', '0161000000500100037b7d'],
    ['with a meta that is not JSON', '0161000000500100017b'],
    ['with a meta that is too long', `016100000050011001${'31'.repeat(4_097)}`],
  ])('is refused %s', (_what, hex) => {
    expect(thrownCode(() => decode(Buffer.from(hex, 'hex')))).toBe('ERR_STARLANE_MESSAGE');
  });
});
