// The frames of a lane, as bytes. Pure: bytes in, frames out.
//
//   uint32 length of what follows | uint8 type | fields | payload
//
// Small frames lie side by side in one slab, so that everything of one turn of the event loop leaves in one write.

import { readUint32, writeUint32 } from '../../wire/fields.js';

/** Payloads up to this size travel in the frame of the message; larger ones on a circuit of their own. In bytes. */
export const MAX_INLINE_BYTES = 64 * 1024;
/** Of the key of a message, in UTF-8. */
export const MAX_KEY_BYTES = 255;
/** The longest frame without its length. */
export const MAX_FRAME_BYTES = MAX_INLINE_BYTES + 512;

const LENGTH_BYTES = 4;
const SLAB_BYTES = 64 * 1024;

export const FrameType = {
  // From the sender.
  MESSAGE: 1,
  CALL: 2,
  /** A number whose message was given up before the receiver has got it. */
  SKIP: 3,
  CANCEL: 4,
  /** How many outcomes the sender has. */
  ACK: 5,
  /** The sender has every outcome, and sends no more. */
  CLOSE: 6,
  /** The content of a message that the receiver wants does not come. */
  NO_BODY: 7,
  // From the receiver.
  WELCOME: 16,
  OUTCOME: 17,
  /** The receiver wants the content of a message now. */
  WANT: 18,
  /** The receiver takes no more messages. */
  LEAVING: 19,
} as const;

/** What a receiver says about a session. */
export const Welcome = {
  NEW: 0,
  RESUMED: 1,
  /** There is no such session any more. */
  GONE: 2,
  /** There are too many sessions. */
  FULL: 3,
  /** The receiver is about to close. */
  LEAVING: 4,
} as const;

/** How a message has ended at the receiver. */
export const OutcomeCode = {
  HANDLED: 0,
  /** The handler has thrown. */
  FAILED: 1,
  NO_HANDLER: 2,
  /** Its time was over before its turn came. */
  LATE: 3,
  /** The sender has taken it back before its turn came. */
  CANCELLED: 4,
  /** It is longer than the receiver accepts. */
  SIZE: 5,
  /** The receiver is about to close. */
  LEAVING: 6,
  /** Too much waits. */
  FULL: 7,
  /** Its content did not arrive, or is not what it claims to be. */
  CONTENT: 8,
  /** The receiver does not know any more. */
  FORGOTTEN: 9,
  /** The handler was not called, as the input is not valid. */
  REFUSED: 10,
  /** It was handled before, and its answer is not kept. */
  NO_ANSWER: 11,
} as const;

const LAST_OUTCOME: number = OutcomeCode.NO_ANSWER;

/** What the bytes of a content stand for. */
export const Kind = {
  /** `undefined`. */
  NONE: 0,
  BYTES: 1,
  TEXT: 2,
  JSON: 3,
  STREAM: 4,
} as const;

const LAST_KIND: number = Kind.STREAM;

const KIND_MASK = 0x0f;
/** The content travels on a circuit of its own. */
const APART = 0x10;
const HAS_KEY = 0x20;

/** No time limit. */
export const NO_LIMIT_MS = 0xffff_ffff;

/** Bytes of a content of which the length is not known. */
export const UNKNOWN_LENGTH = -1;

export type Payload = string | Uint8Array | undefined;

/** Thrown by readers: the peer has broken the protocol. */
export class MalformedFrame extends Error {
  override readonly name = 'MalformedFrame';
}

/** What a message or call is sent with. */
export interface MessageFields {
  readonly kind: number;
  readonly isApart: boolean;
  readonly number: number;
  readonly remainingMs: number;
  /** Undefined for a message. */
  readonly command: number | undefined;
  readonly key: string | undefined;
  /** Of a content that travels apart; {@link UNKNOWN_LENGTH} when it is not known. */
  readonly apartBytes: number;
  /** Where the payload is. */
  readonly from: number;
  readonly to: number;
}

/** Writes frames side by side. */
export class FrameWriter {
  private slab: Buffer = Buffer.allocUnsafeSlow(SLAB_BYTES);
  private at = 0;
  private start = 0;
  private pieces: Buffer[] = [];
  private total = 0;

  /** Bytes written since the last {@link take}. */
  get bytes(): number {
    return this.total + this.at - this.start;
  }

  /** Returns what was written since the last call. The memory is not used again. */
  take(): readonly Buffer[] {
    this.cut();
    const { pieces } = this;
    this.pieces = [];
    this.total = 0;
    return pieces;
  }

  /** @param bytes of the payload in UTF-8 */
  message(
    number: number,
    command: number | undefined,
    remainingMs: number,
    kind: number,
    payload: Payload,
    bytes: number,
    key: string | undefined,
  ): void {
    let at = this.messageHead(number, command, remainingMs, kind, key, bytes);
    at = this.payload(at, payload);
    this.at = at;
  }

  /** A message whose content travels on a circuit of its own. */
  messageApart(
    number: number,
    command: number | undefined,
    remainingMs: number,
    kind: number,
    apartBytes: number,
    key: string | undefined,
  ): void {
    const at = this.messageHead(number, command, remainingMs, kind | APART, key, 8);
    this.at = this.slab.writeDoubleBE(apartBytes, at);
  }

  /** @param isApart whether the answer is fetched on a circuit of its own */
  outcome(number: number, code: number, kind: number, payload: Payload, bytes: number, isApart: boolean): void {
    const at = this.begin(FrameType.OUTCOME, 6 + (isApart ? 0 : bytes));
    const { slab } = this;
    slab[at] = isApart ? kind | APART : kind;
    slab[at + 1] = code;
    writeUint32(slab, at + 2, number);
    this.at = isApart ? at + 6 : this.payload(at + 6, payload);
  }

  /** SKIP, CANCEL, ACK, WANT and NO_BODY. */
  number(type: number, number: number): void {
    const at = this.begin(type, 4);
    this.at = writeUint32(this.slab, at, number);
  }

  /** CLOSE and LEAVING. */
  bare(type: number): void {
    this.at = this.begin(type, 0);
  }

  welcome(status: number, next: number, count: number, bytes: number): void {
    const at = this.begin(FrameType.WELCOME, 13);
    const { slab } = this;
    slab[at] = status;
    writeUint32(slab, at + 1, next);
    writeUint32(slab, at + 5, count);
    this.at = writeUint32(slab, at + 9, bytes);
  }

  private messageHead(
    number: number,
    command: number | undefined,
    remainingMs: number,
    flags: number,
    key: string | undefined,
    bytes: number,
  ): number {
    const keyBytes = key === undefined ? 0 : Buffer.byteLength(key);
    const head = (command === undefined ? 9 : 13) + (key === undefined ? 0 : 1 + keyBytes);
    let at = this.begin(command === undefined ? FrameType.MESSAGE : FrameType.CALL, head + bytes);
    const { slab } = this;
    slab[at] = key === undefined ? flags : flags | HAS_KEY;
    at = writeUint32(slab, at + 1, number);
    at = writeUint32(slab, at, remainingMs);
    if (command !== undefined) at = writeUint32(slab, at, command);
    if (key !== undefined) {
      slab[at] = keyBytes;
      at += 1 + slab.write(key, at + 1, 'utf8');
    }
    return at;
  }

  private payload(at: number, payload: Payload): number {
    if (payload === undefined) return at;
    if (typeof payload === 'string') return at + this.slab.write(payload, at, 'utf8');
    this.slab.set(payload, at);
    return at + payload.length;
  }

  /** Writes length and type. Returns where the fields begin, for which there is room. */
  private begin(type: number, bytes: number): number {
    const needed = LENGTH_BYTES + 1 + bytes;
    if (this.at + needed > this.slab.length) {
      this.cut();
      this.slab = Buffer.allocUnsafeSlow(Math.max(SLAB_BYTES, needed));
      this.at = 0;
      this.start = 0;
    }
    const at = writeUint32(this.slab, this.at, 1 + bytes);
    this.slab[at] = type;
    return at + 1;
  }

  private cut(): void {
    if (this.at === this.start) return;
    this.pieces.push(this.slab.subarray(this.start, this.at));
    this.total += this.at - this.start;
    this.start = this.at;
  }
}

/** Cuts bytes into frames, however they are chunked. What a frame needs is known from its length, so each byte is copied once at most. */
export class FrameDecoder {
  private readonly head = Buffer.allocUnsafe(LENGTH_BYTES);
  private headBytes = 0;
  private frame: Buffer | undefined;
  private filled = 0;

  /** @param onFrame called with type, and the bytes between `from` and `to`, which must not be kept */
  constructor(private readonly onFrame: (type: number, bytes: Buffer, from: number, to: number) => void) {}

  /** Whether the bytes so far end between two frames. */
  get isBetween(): boolean {
    return this.headBytes === 0 && this.frame === undefined;
  }

  /** @throws MalformedFrame, and what `onFrame` throws */
  push(chunk: Buffer): void {
    const { length } = chunk;
    let at = 0;
    while (at < length) {
      if (this.frame !== undefined) at = this.fill(chunk, at);
      else if (this.headBytes === 0 && length - at >= LENGTH_BYTES) {
        const size = checked(readUint32(chunk, at));
        at += LENGTH_BYTES;
        if (length - at >= size) {
          this.onFrame(chunk[at], chunk, at + 1, at + size);
          at += size;
        } else this.expect(size);
      } else {
        this.head[this.headBytes++] = chunk[at++];
        if (this.headBytes === LENGTH_BYTES) {
          this.headBytes = 0;
          this.expect(checked(readUint32(this.head, 0)));
        }
      }
    }
  }

  private expect(size: number): void {
    this.frame = Buffer.allocUnsafe(size);
    this.filled = 0;
  }

  private fill(chunk: Buffer, at: number): number {
    const frame = this.frame as Buffer;
    const end = Math.min(chunk.length, at + frame.length - this.filled);
    this.filled += chunk.copy(frame, this.filled, at, end);
    if (this.filled === frame.length) {
      this.frame = undefined;
      this.onFrame(frame[0], frame, 1, frame.length);
    }
    return end;
  }
}

function checked(size: number): number {
  if (size < 1 || size > MAX_FRAME_BYTES) throw new MalformedFrame(`a frame of ${size} bytes`);
  return size;
}

/** Reads MESSAGE or CALL. @throws MalformedFrame */
export function readMessage(type: number, bytes: Buffer, from: number, to: number): MessageFields {
  const isCall = type === FrameType.CALL;
  let at = from + (isCall ? 13 : 9);
  if (at > to) throw new MalformedFrame('a message without its head');
  const flags = bytes[from];
  const kind = flags & KIND_MASK;
  const isApart = (flags & APART) !== 0;
  if (kind > LAST_KIND || (flags & ~(KIND_MASK | APART | HAS_KEY)) !== 0 || (kind === Kind.STREAM && !isApart)) {
    throw new MalformedFrame(`the flags ${flags}`);
  }
  let key: string | undefined;
  if ((flags & HAS_KEY) !== 0) {
    const end = at + 1 + bytes[at];
    if (at >= to || end > to) throw new MalformedFrame('a key that is cut off');
    key = bytes.toString('utf8', at + 1, end);
    at = end;
  }
  let apartBytes = 0;
  if (isApart) {
    if (to - at !== 8) throw new MalformedFrame('no length of the content');
    apartBytes = bytes.readDoubleBE(at);
    if (!(Number.isSafeInteger(apartBytes) && apartBytes >= UNKNOWN_LENGTH))
      throw new MalformedFrame('a length of no content');
    if (apartBytes === UNKNOWN_LENGTH && kind !== Kind.STREAM) throw new MalformedFrame('a content without a length');
    at = to;
  } else if (to - at > MAX_INLINE_BYTES || (kind === Kind.NONE && at < to))
    throw new MalformedFrame('too much content');
  return {
    kind,
    isApart,
    number: readUint32(bytes, from + 1),
    remainingMs: readUint32(bytes, from + 5),
    command: isCall ? readUint32(bytes, from + 9) : undefined,
    key,
    apartBytes,
    from: at,
    to,
  };
}

/** What a receiver says about a message. */
export interface OutcomeFields {
  readonly code: number;
  readonly kind: number;
  readonly isApart: boolean;
  readonly number: number;
  readonly from: number;
  readonly to: number;
}

/** @throws MalformedFrame */
export function readOutcome(bytes: Buffer, from: number, to: number): OutcomeFields {
  if (to - from < 6) throw new MalformedFrame('an outcome without its head');
  const flags = bytes[from];
  const kind = flags & KIND_MASK;
  const isApart = (flags & APART) !== 0;
  const code = bytes[from + 1];
  if (kind > LAST_KIND || (flags & ~(KIND_MASK | APART)) !== 0 || (kind === Kind.STREAM && !isApart)) {
    throw new MalformedFrame(`the flags ${flags}`);
  }
  if (code > LAST_OUTCOME) throw new MalformedFrame(`the outcome ${code}`);
  if (isApart && (code !== OutcomeCode.HANDLED || to - from !== 6)) throw new MalformedFrame('an answer in two places');
  if (kind === Kind.NONE && to - from !== 6) throw new MalformedFrame('too much content');
  return { code, kind, isApart, number: readUint32(bytes, from + 2), from: from + 6, to };
}

/** Reads SKIP, CANCEL, ACK, WANT or NO_BODY. @throws MalformedFrame */
export function readNumber(bytes: Buffer, from: number, to: number): number {
  if (to - from !== 4) throw new MalformedFrame('no number');
  return readUint32(bytes, from);
}

/** Checks CLOSE or LEAVING. @throws MalformedFrame */
export function readBare(from: number, to: number): void {
  if (from !== to) throw new MalformedFrame('a frame with too much');
}

export interface WelcomeFields {
  readonly status: number;
  /** The number that the receiver expects next. */
  readonly next: number;
  /** Messages that may be on their way at a time. */
  readonly count: number;
  /** Their bytes. */
  readonly bytes: number;
}

/** @throws MalformedFrame */
export function readWelcome(bytes: Buffer, from: number, to: number): WelcomeFields {
  if (to - from !== 13 || bytes[from] > Welcome.LEAVING) throw new MalformedFrame('no welcome');
  return {
    status: bytes[from],
    next: readUint32(bytes, from + 1),
    count: readUint32(bytes, from + 5),
    bytes: readUint32(bytes, from + 9),
  };
}
