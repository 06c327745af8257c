// How messages and frames look as bytes. A circuit carries frames in both directions; a frame of the type DATA holds messages, one after another,
// which are the same bytes for all subscribers.
//
//   frame     type u8, length u32, then as many bytes
//   HELLO     publisher: version u8, session 16 bytes, base u48 (the messages of a new session follow that number), replies u48 (received)
//   WELCOME   subscriber: version u8, resumed u8, received u48, handled u48
//   INTEREST  subscriber: JSON, see interest.ts
//   DATA      first u48, mask u32, messages; those of a publisher are messages, those of a subscriber are replies
//   ACK       handled u48: all up to that number
//   FLUSH     publisher: confirm everything at once from now on, up to here
//   LEAVE     subscriber: received u48; nothing is taken any more, and what follows that number was not
//   SEEN      publisher: number u32 of the last INTEREST, behind everything that was sent before it was known
//   END       publisher: nothing follows
//   CANCEL    publisher: request u32
//
//   message   flags u8, topic length u8, length u32 of what follows: topic, [request u32, remaining ms u32], [request u32, status u8],
//             [length u16, headers as JSON], data
//
// All numbers are little-endian.

export const PROTOCOL_VERSION = 1;

export const FrameType = {
  HELLO: 1,
  WELCOME: 2,
  INTEREST: 3,
  DATA: 4,
  ACK: 5,
  FLUSH: 6,
  LEAVE: 7,
  END: 8,
  CANCEL: 9,
  SEEN: 10,
} as const;

export const FRAME_HEAD_BYTES = 5;
export const DATA_HEAD_BYTES = 10;
export const MESSAGE_HEAD_BYTES = 6;
export const SESSION_BYTES = 16;
/** What a circuit buffers before it makes its writer wait: several frames of messages. */
export const CIRCUIT_BUFFER_BYTES = 256 * 1024;
/** Of any frame but DATA. */
export const MAX_CONTROL_BYTES = 8 * 1024;

/** The two lowest bits of the flags: what the data was. */
export const Kind = { BYTES: 0, STRING: 1, JSON: 2, NONE: 3 } as const;

export const Flag = { KIND: 0x3, HEADERS: 0x4, REQUEST: 0x8, REPLY: 0x10, ALL: 0x1f } as const;

export const ReplyStatus = {
  /** The last value. */
  VALUE: 0,
  /** More may follow. */
  MORE: 1,
  /** No more values. */
  END: 2,
  /** The handler has failed; the data says how. */
  FAILED: 3,
  /** The subscription has dropped the request. */
  DROPPED: 4,
  /** Nobody takes it any more. */
  NO_HANDLER: 5,
} as const;

/** Who of a pattern at a node gets a message: the other bits are the numbers of queue groups. */
export const Mask = { ALL: 1, ONE: 0x8000_0000 } as const;
/** The numbers of queue groups are 1 up to this. */
export const MAX_GROUPS = 30;

const NOTHING = Buffer.alloc(0);

/** Returns a frame with a body. */
export function frame(type: number, body: Buffer = NOTHING): Buffer {
  const bytes = Buffer.allocUnsafe(FRAME_HEAD_BYTES + body.length);
  bytes[0] = type;
  bytes.writeUInt32LE(body.length, 1);
  body.copy(bytes, FRAME_HEAD_BYTES);
  return bytes;
}

/** Writes the head of a DATA frame with `length` bytes of messages. */
export function writeDataHead(bytes: Buffer, length: number, first: number, mask: number): void {
  bytes[0] = FrameType.DATA;
  bytes.writeUInt32LE(DATA_HEAD_BYTES + length, 1);
  bytes.writeUIntLE(first, FRAME_HEAD_BYTES, 6);
  bytes.writeUInt32LE(mask >>> 0, FRAME_HEAD_BYTES + 6);
}

export interface Hello {
  readonly session: Buffer;
  readonly base: number;
  readonly replies: number;
}

export function encodeHello({ session, base, replies }: Hello): Buffer {
  const body = Buffer.allocUnsafe(1 + SESSION_BYTES + 12);
  body[0] = PROTOCOL_VERSION;
  session.copy(body, 1);
  body.writeUIntLE(base, 1 + SESSION_BYTES, 6);
  body.writeUIntLE(replies, 7 + SESSION_BYTES, 6);
  return frame(FrameType.HELLO, body);
}

/** Returns undefined for what is none. Later versions may append fields. */
export function decodeHello(body: Buffer): Hello | undefined {
  if (body.length < 1 + SESSION_BYTES + 12 || body[0] < PROTOCOL_VERSION) return undefined;
  return {
    session: Buffer.from(body.subarray(1, 1 + SESSION_BYTES)),
    base: body.readUIntLE(1 + SESSION_BYTES, 6),
    replies: body.readUIntLE(7 + SESSION_BYTES, 6),
  };
}

export interface Welcome {
  readonly resumed: boolean;
  readonly received: number;
  readonly handled: number;
}

export function encodeWelcome({ resumed, received, handled }: Welcome): Buffer {
  const body = Buffer.allocUnsafe(14);
  body[0] = PROTOCOL_VERSION;
  body[1] = resumed ? 1 : 0;
  body.writeUIntLE(received, 2, 6);
  body.writeUIntLE(handled, 8, 6);
  return frame(FrameType.WELCOME, body);
}

export function decodeWelcome(body: Buffer): Welcome | undefined {
  if (body.length < 14 || body[0] < PROTOCOL_VERSION) return undefined;
  return { resumed: body[1] === 1, received: body.readUIntLE(2, 6), handled: body.readUIntLE(8, 6) };
}

/** Returns an ACK or LEAVE with the number of a message. */
export function encodeSequence(type: number, sequence: number): Buffer {
  const body = Buffer.allocUnsafe(6);
  body.writeUIntLE(sequence, 0, 6);
  return frame(type, body);
}

/** Returns a frame that holds a number of 32 bits. */
export function encodeNumber(type: number, value: number): Buffer {
  const body = Buffer.allocUnsafe(4);
  body.writeUInt32LE(value, 0);
  return frame(type, body);
}
