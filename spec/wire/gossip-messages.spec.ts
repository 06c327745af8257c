import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  BUCKETS,
  bucketOf,
  type GossipMessage,
  MAX_ENTRIES,
  MAX_WANTED,
  recordCopyBytes,
} from '../../lib/wire/gossip-messages.js';
import { MessageReader } from '../../lib/wire/message.js';
import {
  decodeMessage,
  encodeGoodbye,
  encodeMessage,
  encodeMessageOf,
  encodeSynced,
  MAX_MESSAGE_BYTES,
  type Message,
  MessageType,
} from '../../lib/wire/messages.js';
import { encodeNodeRecord, encodeShardRecord, type RecordVersion, recordKey } from '../../lib/wire/records.js';
import { bytesOf, damaged, nodeId, uint32 } from '../support/arbitraries.js';
import { meshRecord, noSignature, SOME_NODE_FIELDS, SOME_SHARD_FIELDS } from '../support/record-arbitraries.js';
import { thrownCode } from '../support/thrown.js';

function readAll(bytes: Buffer): Message[] {
  const messages: Message[] = [];
  new MessageReader(decodeMessage, (message) => messages.push(message)).push(bytes);
  return messages;
}

const layout = fc
  .tuple(fc.constantFrom(0, 1, 2, 512), fc.nat({ max: 511 }))
  .map(([shards, shard]) => ({ shards, shard: shards === 0 ? 0 : shard % shards }));
const key = fc.tuple(nodeId, layout).map(([id, { shard, shards }]) => recordKey(id, shard, shards));

const version: fc.Arbitrary<RecordVersion> = fc.record({
  key,
  epoch: uint32,
  seq: uint32,
  hashHigh: uint32,
  hashLow: uint32,
});

const hashes = fc.uint32Array({ minLength: BUCKETS, maxLength: BUCKETS });

const gossipMessage: fc.Arbitrary<GossipMessage> = fc.oneof(
  fc.array(fc.record({ remainingLifeS: uint32, record: meshRecord }), { maxLength: 5 }).map((records) => ({
    type: MessageType.RECORDS,
    records,
  })),
  fc.record({ type: fc.constant(MessageType.DIGEST), rootHigh: uint32, rootLow: uint32, count: uint32 }),
  fc.record({ type: fc.constant(MessageType.BUCKETS), high: hashes, low: hashes }),
  fc.record({
    type: fc.constant(MessageType.ENTRIES),
    isLast: fc.boolean(),
    bitmap: bytesOf(32).map((bytes) => Buffer.from(bytes)),
    entries: fc.array(version, { maxLength: 20 }),
  }),
  fc.record({ type: fc.constant(MessageType.WANT), isLast: fc.boolean(), keys: fc.array(key, { maxLength: 20 }) }),
);

describe('messages of the gossip', () => {
  it('have the bytes of the protocol', () => {
    const id = 'AAECAwQFBgc';
    const node = encodeNodeRecord(SOME_NODE_FIELDS, noSignature);
    const shard = encodeShardRecord(SOME_SHARD_FIELDS, noSignature);
    const records = encodeMessageOf({
      type: MessageType.RECORDS,
      records: [
        { remainingLifeS: 3_599, record: node },
        { remainingLifeS: 1, record: shard },
      ],
    });
    expect(records.subarray(4, 11).toString('hex')).toBe(
      `06 00000e0f ${node.bytes.length.toString(16).padStart(4, '0')}`.replaceAll(' ', ''),
    );
    expect(records).toHaveLength(5 + recordCopyBytes(node) + recordCopyBytes(shard));
    const digest = encodeMessageOf({ type: MessageType.DIGEST, rootHigh: 1, rootLow: 0xffff_fffe, count: 3 });
    expect(digest.toString('hex')).toBe(`0000000d07${'00000001fffffffe00000003'}`);
    const bitmap = Buffer.alloc(32);
    bitmap[0] = 1;
    const entries = encodeMessageOf({
      type: MessageType.ENTRIES,
      isLast: true,
      bitmap,
      entries: [{ key: `${id}/3/4`, epoch: 1, seq: 2, hashHigh: 3, hashLow: 4 }],
    });
    expect(entries.subarray(4).toString('hex')).toBe(
      `0901${bitmap.toString('hex')}0001000102030405060700030004000000010000000200000003${'00000004'}`,
    );
    const want = encodeMessageOf({ type: MessageType.WANT, isLast: false, keys: [id] });
    expect(want.subarray(4).toString('hex')).toBe('0a000001000102030405060700000000');
    const buckets = encodeMessageOf({
      type: MessageType.BUCKETS,
      high: new Uint32Array(BUCKETS).fill(1),
      low: new Uint32Array(BUCKETS).fill(2),
    });
    expect(buckets.subarray(4).toString('hex')).toBe(`08${'0000000100000002'.repeat(256)}`);
  });

  it('are read as they were written', () => {
    fc.assert(
      fc.property(gossipMessage, (message) => {
        expect(readAll(encodeMessageOf(message))).toEqual([message]);
      }),
    );
  });

  it('are encoded by type, as are all others', () => {
    expect(encodeMessageOf({ type: MessageType.SYNCED })).toEqual(encodeSynced());
    expect(encodeMessageOf({ type: MessageType.GOODBYE, code: 3, reason: 'x' })).toEqual(
      encodeGoodbye({ code: 3, reason: 'x' }),
    );
  });

  it('fit when they are full', () => {
    const entry = { key: 'AAECAwQFBgc/511/512', epoch: 1, seq: 2, hashHigh: 3, hashLow: 4 };
    const entries = new Array<RecordVersion>(MAX_ENTRIES).fill(entry);
    const message = { type: MessageType.ENTRIES, isLast: true, bitmap: Buffer.alloc(32), entries };
    expect(encodeMessageOf(message).length).toBeLessThanOrEqual(60 * 1024);
    expect(thrownCode(() => encodeMessageOf({ ...message, entries: [...entries, entry] }))).toBe(
      'ERR_STARLANE_MESSAGE',
    );
    const keys = new Array<string>(MAX_WANTED).fill(entry.key);
    expect(encodeMessageOf({ type: MessageType.WANT, isLast: true, keys }).length).toBeLessThan(MAX_MESSAGE_BYTES);
    expect(
      thrownCode(() => encodeMessageOf({ type: MessageType.WANT, isLast: true, keys: [...keys, entry.key] })),
    ).toBe('ERR_STARLANE_MESSAGE');
  });

  it.each<[string, number, string]>([
    ['RECORDS that end in a header', MessageType.RECORDS, '00000001'],
    ['RECORDS that end in a record', MessageType.RECORDS, '0000000100ff00'],
    ['RECORDS with a record that is none', MessageType.RECORDS, '000000010001ff'],
    ['a short DIGEST', MessageType.DIGEST, '00'.repeat(11)],
    ['too few BUCKETS', MessageType.BUCKETS, '00'.repeat(8 * 256 - 1)],
    ['more ENTRIES than are there', MessageType.ENTRIES, `01${'00'.repeat(32)}0001`],
    ['too many ENTRIES', MessageType.ENTRIES, `01${'00'.repeat(32)}0801${'00'.repeat(28 * 2_049)}`],
    [
      'ENTRIES of a shard that is none',
      MessageType.ENTRIES,
      `01${'00'.repeat(32)}0001${'00'.repeat(8)}00030003${'00'.repeat(16)}`,
    ],
    [
      'ENTRIES of a NODE with a shard',
      MessageType.ENTRIES,
      `01${'00'.repeat(32)}0001${'00'.repeat(8)}00030000${'00'.repeat(16)}`,
    ],
    ['a WANT of a shard that is none', MessageType.WANT, `010001${'00'.repeat(8)}02000200`],
    ['a short WANT', MessageType.WANT, '01'],
  ])('are refused: %s', (_what, type, body) => {
    const bytes = encodeMessage(type, [Buffer.from(body, 'hex')]);
    expect(thrownCode(() => readAll(bytes))).toBe('ERR_STARLANE_MESSAGE');
  });

  it('never throw anything but a coded error', () => {
    const body = damaged(gossipMessage.map((message) => encodeMessageOf(message).subarray(4))).filter(
      (bytes) => bytes.length > 0 && bytes.length <= MAX_MESSAGE_BYTES,
    );
    fc.assert(
      fc.property(body, (bytes) => {
        const framed = encodeMessage(bytes[0], [bytes.subarray(1)]);
        expect([undefined, 'ERR_STARLANE_MESSAGE']).toContain(thrownCode(() => readAll(framed)));
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('the bucket of a record', () => {
  it('is the first byte of the node id', () => {
    fc.assert(
      fc.property(bytesOf(8), (bytes) => {
        expect(bucketOf(Buffer.from(bytes).toString('base64url'))).toBe(bytes[0]);
      }),
      { numRuns: 1_000 },
    );
  });
});
