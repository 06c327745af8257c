import { describe, expect, it } from '@jest/globals';
import { messageBytes } from '../../bench/simulation/message-bytes.js';
import { Random } from '../../bench/simulation/random.js';
import { CheapSignatures } from '../../bench/simulation/signatures.js';
import { nodeIdFromBytes } from '../../lib/address.js';
import { encodeMessageOf, type Message, MessageType } from '../../lib/wire/messages.js';
import { encodeNodeRecord, encodeShardRecord, type MeshRecord, shardOfService } from '../../lib/wire/records.js';

const random = new Random(11);
const keys = new CheapSignatures().makeKeys(random);
const hash = (): number => random.below(2 ** 32);
const nodeId = (): string => nodeIdFromBytes(random.bytes(8));
const list = <T>(most: number, make: () => T): T[] => Array.from({ length: random.below(most + 1) }, make);

function record(): MeshRecord {
  const header = { publicKey: keys.publicKey, bootId: random.uuid(), epoch: hash(), seq: hash(), lifeS: 3600 };
  const sign = (bytes: Uint8Array): Uint8Array => keys.sign(bytes);
  if (random.next() < 0.5) {
    const addresses = list(3, () => `tcp://10.0.0.${random.below(256)}:4000`);
    const links = list(20, () => ({ peerId: nodeId(), cost: random.below(256) }));
    return encodeNodeRecord({ ...header, flags: random.below(16), envDigests: [], addresses, links }, sign);
  }
  const services = list(20, () => ({ service: `name-${hash()}`, port: hash(), weight: 1, meta: { at: hash() } }));
  const mine = services.filter(({ service, port }) => shardOfService(service, port, 2) === 1);
  return encodeShardRecord({ ...header, shard: 1, shards: 2, services: mine }, sign);
}

const MAKERS: ReadonlyArray<() => Message> = [
  () => ({
    type: MessageType.RECORDS,
    records: list(8, () => ({ remainingLifeS: random.below(3600), record: record() })),
  }),
  () => ({ type: MessageType.DIGEST, rootHigh: hash(), rootLow: hash(), count: hash() }),
  () => ({
    type: MessageType.BUCKETS,
    high: Uint32Array.from({ length: 256 }, hash),
    low: Uint32Array.from({ length: 256 }, hash),
  }),
  () => ({
    type: MessageType.ENTRIES,
    isLast: true,
    bitmap: random.bytes(32),
    entries: list(50, () => ({ key: nodeId(), epoch: hash(), seq: hash(), hashHigh: hash(), hashLow: hash() })),
  }),
  () => ({ type: MessageType.WANT, isLast: false, keys: list(50, () => `${nodeId()}/3/8`) }),
  () => ({ type: MessageType.SYNCED }),
  () => ({ type: MessageType.GOODBYE, code: 1, reason: 'a reason'.repeat(random.below(5)) }),
];

describe('the size of a message in the simulation', () => {
  it('is that of its encoding', () => {
    for (let turn = 0; turn < 700; turn++) {
      const message = MAKERS[turn % MAKERS.length]();
      expect({ type: message.type, bytes: messageBytes(message) }).toEqual({
        type: message.type,
        bytes: encodeMessageOf(message).length,
      });
    }
  });
});
