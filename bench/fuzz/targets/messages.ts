// The messages of the control stream. A part is a chunk of it.

import { nodeIdFromBytes } from '../../../lib/address.js';
import { StarlaneError } from '../../../lib/errors.js';
import type { NodeRole } from '../../../lib/options/options.js';
import { BUCKETS } from '../../../lib/wire/gossip-messages.js';
import { MessageReader } from '../../../lib/wire/message.js';
import {
  decodeMessage,
  encodeAuth,
  encodeGoodbye,
  encodeHello,
  encodeMessageOf,
  encodeSynced,
  MAX_MESSAGE_BYTES,
  type Message,
  MessageType,
} from '../../../lib/wire/messages.js';
import { decodeRecord } from '../../../lib/wire/records.js';
import type { Random } from '../../simulation/random.js';
import { must, type Outcome, type Parts, type PureTarget, wayOf } from '../target.js';
import { sampleRecord } from './records.js';

const LENGTH_BYTES = 4;

export const messages: PureTarget = {
  name: 'messages',
  share: 10,

  generate(random) {
    const bytes = Buffer.concat(Array.from({ length: 1 + random.below(3) }, () => randomMessage(random)));
    const cut = random.below(bytes.length + 1);
    return random.below(2) === 0 ? [bytes] : [bytes.subarray(0, cut), bytes.subarray(cut)];
  },

  repair(parts) {
    parts.forEach((part, index) => {
      parts[index] = withLengths(part);
    });
  },

  run(parts) {
    const [chunked, whole] = [read(parts), read([Buffer.concat(parts)])];
    must(chunked.way === whole.way, `in chunks it ends with ${chunked.way}, as a whole with ${whole.way}`);
    must(chunked.messages.length === whole.messages.length, 'chunks make a difference');
    whole.messages.forEach((message, index) => {
      const text = textOf(message);
      must(textOf(chunked.messages[index]) === text, 'chunks make a difference');
      must(textOf(writtenAgain(message)) === text, 'written again it says something else');
    });
    return [...whole.messages.map(({ type }) => `type ${type}`), whole.way];
  },
};

function read(parts: Parts): { messages: Message[]; way: Outcome } {
  const found: Message[] = [];
  const reader = new MessageReader(decodeMessage, (message) => found.push(message));
  try {
    for (const part of parts) reader.push(part);
  } catch (error) {
    if (!(error instanceof StarlaneError)) throw error;
    must(error.code === 'ERR_STARLANE_MESSAGE', `it is refused with ${error.code}`);
    return { messages: found, way: wayOf(error) };
  }
  return { messages: found, way: reader.betweenMessages ? 'whole' : 'more' };
}

function writtenAgain(message: Message): Message | undefined {
  const bytes = encodeMessageOf(message);
  must(bytes.length <= LENGTH_BYTES + MAX_MESSAGE_BYTES, 'it becomes longer than a message may be');
  return read([bytes]).messages[0];
}

function textOf(message: Message | undefined): string {
  return JSON.stringify(message, (_name, value) =>
    ArrayBuffer.isView(value) ? Buffer.from(value as Buffer).toString('hex') : value,
  );
}

/** The same bytes as messages, with lengths that fit: the last one takes what is left. */
export function withLengths(bytes: Buffer): Buffer {
  const repaired = Buffer.from(bytes);
  for (let at = 0; at + LENGTH_BYTES < repaired.length; ) {
    const left = repaired.length - at - LENGTH_BYTES;
    const said = repaired.readUInt32BE(at);
    const length = said >= 1 && said <= left ? said : left;
    repaired.writeUInt32BE(length, at);
    at += LENGTH_BYTES + length;
  }
  return repaired;
}

/** The nodes that messages are about. */
export interface Subjects {
  record(random: Random): Buffer;
  /** The key of a record. */
  key(random: Random): string;
  /** About a member. */
  statement(random: Random): Buffer;
}

const ANYBODY: Subjects = {
  record: sampleRecord,
  key: randomKey,
  statement: (random) => random.bytes(1 + random.below(200)),
};

/** A message that is well-formed, as any node may send it. */
export function randomMessage(random: Random, subjects: Subjects = ANYBODY): Buffer {
  switch (random.below(12)) {
    case 0:
      return randomHello(random);
    case 1:
      return encodeSynced();
    case 2:
      return encodeGoodbye({ code: random.below(10), reason: random.pick(['', 'bye', 'größe']) });
    case 3:
      return encodeMessageOf({
        type: MessageType.DIGEST,
        rootHigh: random.below(2 ** 32),
        rootLow: random.below(2 ** 32),
        count: random.pick([0, 1, 2, 63, 64, 65, 1_000_000]),
      });
    case 4:
      return encodeMessageOf({
        type: MessageType.BUCKETS,
        high: Uint32Array.from({ length: BUCKETS }, () => random.below(3)),
        low: Uint32Array.from({ length: BUCKETS }, () => random.below(3)),
      });
    case 5:
      return encodeMessageOf({
        type: MessageType.ENTRIES,
        isLast: random.below(2) === 0,
        bitmap: random.below(2) === 0 ? Buffer.alloc(32, 0xff) : random.bytes(32),
        entries: Array.from({ length: random.below(4) }, () => ({
          key: subjects.key(random),
          epoch: random.below(3),
          seq: random.below(3),
          hashHigh: random.below(2 ** 32),
          hashLow: random.below(2 ** 32),
        })),
      });
    case 6:
      return encodeMessageOf({
        type: MessageType.WANT,
        isLast: random.below(2) === 0,
        keys: Array.from({ length: random.below(4) }, () => subjects.key(random)),
      });
    case 7:
      return encodeAuth({ signature: random.bytes(64), proof: random.bytes(random.pick([0, 32])) });
    case 8:
      return encodeMessageOf({
        type: MessageType.MEMBERS,
        statements: Array.from({ length: random.below(3) }, () => subjects.statement(random)),
      });
    case 9:
      return encodeMessageOf({
        type: MessageType.MEMBERS_DIGEST,
        rootHigh: random.below(2 ** 32),
        rootLow: random.below(2 ** 32),
        count: random.pick([0, 1, 63, 1_000_000]),
      });
    case 10:
      return encodeMessageOf({
        type: MessageType.MEMBER_HASHES,
        isLast: random.below(2) === 0,
        hashes: Array.from({ length: random.below(4) }, () => random.bytes(8).toString('hex')),
      });
    default: {
      const copies = Array.from({ length: 1 + random.below(3) }, () => ({
        remainingLifeS: random.pick([0, 1, 60, 3_600, 0xffff_ffff]),
        record: decodeRecord(subjects.record(random)),
      }));
      return encodeMessageOf({ type: MessageType.RECORDS, records: copies });
    }
  }
}

function randomKey(random: Random): string {
  const id = nodeIdFromBytes(random.bytes(8));
  return random.below(2) === 0 ? id : `${id}/${random.below(4)}/4`;
}

function randomHello(random: Random): Buffer {
  return encodeHello({
    version: random.below(3),
    minVersion: random.below(3),
    nodeId: nodeIdFromBytes(random.bytes(8)),
    publicKey: random.bytes(32),
    bootId: random.uuid(),
    role: random.pick<NodeRole>(['peer', 'client', 'server', 'router']),
    flags: random.below(256),
    capabilities: random.below(2 ** 32),
    envDigests: Array.from({ length: random.below(3) }, () => random.bytes(8).toString('hex')),
    listenAddresses: ['tcp://127.0.0.1:1', 'x'].slice(random.below(3)),
    nonce: random.bytes(16),
  });
}
