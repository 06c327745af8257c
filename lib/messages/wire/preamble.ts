// The first bytes of a circuit of messages: what it is for. Pure.
//
//   'SLM' | uint8 version | uint8 kind | uint16 length of what follows | what the kind needs

import { readUint16, readUint32, writeUint16, writeUint32 } from '../../wire/fields.js';
import { MalformedFrame } from './frames.js';

const MAGIC = Buffer.from('SLM');
const VERSION = 1;
const PREAMBLE_HEAD_BYTES = 7;
/** Of the header of a call, which is a few fields: what arrives byte by byte is copied again with each of them until it is whole. */
const MAX_HEADER_BYTES = 1_024;

export const RUN_BYTES = 16;

export const CircuitKind = {
  /** Small messages and calls, many at a time. */
  LANE: 1,
  /** The content of one message, from the sender. */
  BODY: 2,
  /** The content of one answer, to the sender. */
  FETCH: 3,
  /** One streaming call. Its header is up to those who made it. */
  CALL: 4,
} as const;

/** A session of a sender: the run of a target in its process, and a number that grows with each session of it. */
export interface SessionName {
  /** 16 random bytes as latin1. */
  readonly run: string;
  readonly epoch: number;
}

export type Preamble =
  | (SessionName & {
      readonly kind: typeof CircuitKind.LANE;
      readonly isResumed: boolean;
      /** How many outcomes of the session the sender has. */
      readonly outcomes: number;
    })
  | (SessionName & { readonly kind: typeof CircuitKind.BODY | typeof CircuitKind.FETCH; readonly number: number })
  | { readonly kind: typeof CircuitKind.CALL; readonly header: Buffer };

const SESSION_BYTES = RUN_BYTES + 4;
const LANE_BYTES = SESSION_BYTES + 5;
const CONTENT_BYTES = SESSION_BYTES + 4;

export function encodePreamble(preamble: Preamble): Buffer {
  if (preamble.kind === CircuitKind.CALL) {
    const bytes = head(preamble.kind, preamble.header.length);
    preamble.header.copy(bytes, PREAMBLE_HEAD_BYTES);
    return bytes;
  }
  const isLane = preamble.kind === CircuitKind.LANE;
  const bytes = head(preamble.kind, isLane ? LANE_BYTES : CONTENT_BYTES);
  bytes.write(preamble.run, PREAMBLE_HEAD_BYTES, 'latin1');
  let at = writeUint32(bytes, PREAMBLE_HEAD_BYTES + RUN_BYTES, preamble.epoch);
  if (isLane) {
    bytes[at++] = preamble.isResumed ? 1 : 0;
    writeUint32(bytes, at, preamble.outcomes);
  } else writeUint32(bytes, at, preamble.number);
  return bytes;
}

function head(kind: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(PREAMBLE_HEAD_BYTES + length);
  MAGIC.copy(bytes);
  bytes[3] = VERSION;
  bytes[4] = kind;
  writeUint16(bytes, 5, length);
  return bytes;
}

/** A preamble, and how many bytes it has. */
export interface ReadPreamble {
  readonly preamble: Preamble;
  readonly bytes: number;
}

/** Reads a preamble from the first bytes of a circuit; undefined while there are too few. @throws MalformedFrame as soon as they are wrong */
export function readPreamble(bytes: Buffer): ReadPreamble | undefined {
  const known = Math.min(bytes.length, MAGIC.length);
  if (bytes.compare(MAGIC, 0, known, 0, known) !== 0)
    throw new MalformedFrame('the circuit does not begin as one of messages');
  if (bytes.length < PREAMBLE_HEAD_BYTES) return undefined;
  if (bytes[3] !== VERSION) throw new MalformedFrame(`version ${bytes[3]} of the protocol of messages`);
  const kind = bytes[4];
  const length = readUint16(bytes, 5);
  if (kind < CircuitKind.LANE || kind > CircuitKind.CALL) throw new MalformedFrame(`a circuit of kind ${kind}`);
  if (kind === CircuitKind.LANE && length !== LANE_BYTES) throw new MalformedFrame('a lane without its session');
  if ((kind === CircuitKind.BODY || kind === CircuitKind.FETCH) && length !== CONTENT_BYTES) {
    throw new MalformedFrame('a content without its message');
  }
  if (kind === CircuitKind.CALL && length > MAX_HEADER_BYTES) throw new MalformedFrame(`a header of ${length} bytes`);
  const end = PREAMBLE_HEAD_BYTES + length;
  if (bytes.length < end) return undefined;
  if (kind === CircuitKind.CALL) {
    return { preamble: { kind, header: Buffer.from(bytes.subarray(PREAMBLE_HEAD_BYTES, end)) }, bytes: end };
  }
  const run = bytes.toString('latin1', PREAMBLE_HEAD_BYTES, PREAMBLE_HEAD_BYTES + RUN_BYTES);
  const at = PREAMBLE_HEAD_BYTES + SESSION_BYTES;
  const epoch = readUint32(bytes, at - 4);
  if (kind === CircuitKind.LANE) {
    if (bytes[at] > 1) throw new MalformedFrame('a lane that is neither new nor resumed');
    return {
      preamble: { kind, run, epoch, isResumed: bytes[at] === 1, outcomes: readUint32(bytes, at + 1) },
      bytes: end,
    };
  }
  return { preamble: { kind: kind as typeof CircuitKind.BODY, run, epoch, number: readUint32(bytes, at) }, bytes: end };
}
