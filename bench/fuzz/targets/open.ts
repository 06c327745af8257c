// OPEN and its reply, read from the start of a stream that brings a little more at a time. Each part is one of them.

import { nodeIdFromBytes } from '../../../lib/address.js';
import { StarlaneError } from '../../../lib/errors.js';
import { CIRCUIT_PROOF_BYTES, KEY_HINT_BYTES } from '../../../lib/wire/circuit-proof.js';
import { encodeOpen, MAX_OPEN_BYTES, type OpenRequest, tryReadOpen } from '../../../lib/wire/open.js';
import { encodeReply, MAX_REPLY_BYTES, type OpenReply, tryReadReply } from '../../../lib/wire/open-reply.js';
import type { Random } from '../../simulation/random.js';
import { must, type Outcome, type PureTarget, wayOf } from '../target.js';

const NAMES = ['', 'echo', 'größe', '__proto__', 'AAAAAAAAAAA', 'x'.repeat(255)];

export const open: PureTarget = prefixed({
  name: 'open',
  maxBytes: MAX_OPEN_BYTES,
  make: randomOpen,
  read: (bytes) => {
    const read = tryReadOpen(bytes);
    return read === undefined ? undefined : { value: read.open, bytesRead: read.bytesRead };
  },
  write: (value) => encodeOpen(value as OpenRequest),
});

export const reply: PureTarget = prefixed({
  name: 'reply',
  maxBytes: MAX_REPLY_BYTES,
  make: randomReply,
  read: (bytes) => {
    const read = tryReadReply(bytes);
    return read === undefined ? undefined : { value: read.reply, bytesRead: read.bytesRead };
  },
  write: (value) => encodeReply(value as OpenReply),
});

interface Codec {
  readonly name: string;
  readonly maxBytes: number;
  make(random: Random): Buffer;
  read(bytes: Buffer): { value: unknown; bytesRead: number } | undefined;
  write(value: unknown): Buffer;
}

function prefixed(codec: Codec): PureTarget {
  return {
    name: codec.name,
    share: 12,
    generate: (random) => [codec.make(random)],
    repair(parts) {
      parts.forEach((part, index) => {
        parts[index] = withLength(part);
      });
    },
    run: (parts) => parts.map((part) => wayOfOne(codec, part)),
  };
}

/** The same bytes, with a length in front that fits them. */
export function withLength(bytes: Buffer): Buffer {
  if (bytes.length < 2) return bytes;
  const repaired = Buffer.from(bytes);
  repaired.writeUInt16BE((bytes.length - 2) & 0xffff, 0);
  return repaired;
}

function wayOfOne(codec: Codec, bytes: Buffer): Outcome {
  let read: { value: unknown; bytesRead: number } | undefined;
  try {
    read = codec.read(bytes);
  } catch (error) {
    if (!(error instanceof StarlaneError)) throw error;
    must(error.code === 'ERR_STARLANE_MESSAGE', `it is refused with ${error.code}`);
    return wayOf(error);
  }
  if (read === undefined) {
    must(bytes.length < codec.maxBytes, 'it wants more than there may be');
    return 'more';
  }
  const { value, bytesRead } = read;
  must(bytesRead <= bytes.length && bytesRead <= codec.maxBytes, 'it reads beyond the end');
  // A byte less is not enough, and what follows makes no difference.
  must(codec.read(bytes.subarray(0, bytesRead - 1)) === undefined, 'it does not need all of what it reads');
  const text = JSON.stringify(value);
  must(JSON.stringify(codec.read(bytes.subarray(0, bytesRead))?.value) === text, 'what follows makes a difference');
  const again = codec.read(codec.write(value));
  must(again !== undefined && JSON.stringify(again.value) === text, 'written again it says something else');
  return Object.entries(value as object)
    .map(([name, field]) => (isEmpty(field) ? '' : name))
    .join(' ');
}

function isEmpty(field: unknown): boolean {
  return field === undefined || field === 0 || field === '' || (field as { length?: number }).length === 0;
}

function proofOf(random: Random): Buffer {
  const hints = random.below(6);
  if (hints === 5) return random.bytes(CIRCUIT_PROOF_BYTES);
  const parts = [random.bytes(CIRCUIT_PROOF_BYTES), Buffer.from([hints]), random.bytes(hints * KEY_HINT_BYTES)];
  const terms = random.pick([0, 0, 5, 5, 40]);
  if (terms > 0) parts.push(Buffer.from([terms]), random.bytes(terms));
  return Buffer.concat(parts);
}

export function randomOpen(random: Random, changes: Partial<OpenRequest> = {}): Buffer {
  const visited = Array.from({ length: random.below(4) }, () => nodeIdFromBytes(random.bytes(8)));
  return encodeOpen({
    hopLimit: random.below(256),
    dst: nodeIdFromBytes(random.bytes(8)),
    dstPort: random.below(3),
    src: nodeIdFromBytes(random.bytes(8)),
    srcPort: random.below(2 ** 32),
    circuitId: random.bytes(16),
    visited,
    service: random.pick(NAMES),
    env: random.below(2) === 0 ? undefined : random.bytes(8).toString('hex'),
    remainingMs: random.below(2) === 0 ? undefined : random.below(1_000_000),
    relays: random.below(visited.length + 1),
    proof: random.below(3) === 0 ? proofOf(random) : undefined,
    ...changes,
  });
}

export function randomReply(random: Random, changes: Partial<OpenReply> = {}): Buffer {
  return encodeReply({
    code: random.below(10),
    port: random.below(2 ** 32),
    at: nodeIdFromBytes(random.bytes(8)),
    reason: random.pick(['', 'no', 'größe', 'x'.repeat(255)]),
    proof: random.below(3) === 0 ? random.bytes(CIRCUIT_PROOF_BYTES + random.below(2)) : undefined,
    visited: Array.from({ length: random.below(4) }, () => nodeIdFromBytes(random.bytes(8))),
    ...changes,
  });
}
