// The yamux frame header: twelve bytes, big-endian, read and written in place.
//
//   0        1        2                 4                 8                 12
//   +--------+--------+-----------------+-----------------+-----------------+
//   | version|  type  |      flags      |    stream id    |     length      |
//   +--------+--------+-----------------+-----------------+-----------------+
//
// Accessors take the bytes and an offset, so that no object is made per frame.
// Source of every number here: hashicorp/yamux spec.md, section "Framing".

export const HEADER_BYTES = 12;

/** The only version of the protocol there is (spec: "Version Field"). */
export const YAMUX_VERSION = 0;

/** Frame types (spec: "Type Field"). The numbers are the wire: append only. */
export const FrameType = {
  DATA: 0,
  WINDOW_UPDATE: 1,
  PING: 2,
  GO_AWAY: 3,
} as const;
export type FrameType = (typeof FrameType)[keyof typeof FrameType];

/** Bits of the flags field (spec: "Flag Field"). */
export const Flag = {
  SYN: 0x1,
  ACK: 0x2,
  FIN: 0x4,
  RST: 0x8,
} as const;

/** Every flag bit that the specification gives a meaning. */
export const KNOWN_FLAGS = Flag.SYN | Flag.ACK | Flag.FIN | Flag.RST;

/** Reasons in a GoAway frame (spec: "Session termination"). */
export const GoAwayCode = {
  NORMAL: 0,
  PROTOCOL_ERROR: 1,
  INTERNAL_ERROR: 2,
} as const;
export type GoAwayCode = (typeof GoAwayCode)[keyof typeof GoAwayCode];

/** The stream id of frames that concern the whole session (spec: "StreamID Field"). */
export const SESSION_STREAM_ID = 0;

/** Credit that both sides assume for every new stream, in bytes (spec: "Flow Control"). */
export const INITIAL_WINDOW_BYTES = 256 * 1024;

/** The largest stream id, length or window that a header can carry. */
export const MAX_UINT32 = 0xffff_ffff;

/** Writes a header at `offset`; the caller has made room for {@link HEADER_BYTES} bytes. */
export function writeHeader(
  target: Uint8Array,
  offset: number,
  type: number,
  flags: number,
  streamId: number,
  length: number,
): void {
  target[offset] = YAMUX_VERSION;
  target[offset + 1] = type;
  target[offset + 2] = flags >>> 8;
  target[offset + 3] = flags;
  target[offset + 4] = streamId >>> 24;
  target[offset + 5] = streamId >>> 16;
  target[offset + 6] = streamId >>> 8;
  target[offset + 7] = streamId;
  target[offset + 8] = length >>> 24;
  target[offset + 9] = length >>> 16;
  target[offset + 10] = length >>> 8;
  target[offset + 11] = length;
}

/** Returns a header in its own buffer, for specs. */
export function encodeHeader(type: number, flags: number, streamId: number, length: number): Buffer {
  const header = Buffer.allocUnsafe(HEADER_BYTES);
  writeHeader(header, 0, type, flags, streamId, length);
  return header;
}

export function readVersion(bytes: Uint8Array, offset: number): number {
  return bytes[offset];
}

export function readType(bytes: Uint8Array, offset: number): number {
  return bytes[offset + 1];
}

export function readFlags(bytes: Uint8Array, offset: number): number {
  return (bytes[offset + 2] << 8) | bytes[offset + 3];
}

export function readStreamId(bytes: Uint8Array, offset: number): number {
  return readUint32(bytes, offset + 4);
}

export function readLength(bytes: Uint8Array, offset: number): number {
  return readUint32(bytes, offset + 8);
}

/** Sets flag bits of a header that has been written but not sent. */
export function addFlags(bytes: Uint8Array, offset: number, flags: number): void {
  bytes[offset + 2] |= flags >>> 8;
  bytes[offset + 3] |= flags;
}

function readUint32(bytes: Uint8Array, offset: number): number {
  return ((bytes[offset] << 24) | (bytes[offset + 1] << 16) | (bytes[offset + 2] << 8) | bytes[offset + 3]) >>> 0;
}

/** Returns one line about a header for debug output and errors. */
export function describeHeader(bytes: Uint8Array, offset: number): string {
  const types = ['data', 'window update', 'ping', 'go away'];
  const type = readType(bytes, offset);
  return (
    `version ${readVersion(bytes, offset)} ${types[type] ?? `type ${type}`} ` +
    `flags 0x${readFlags(bytes, offset).toString(16)} stream ${readStreamId(bytes, offset)} ` +
    `length ${readLength(bytes, offset)}`
  );
}
