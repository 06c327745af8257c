// A second yamux codec, the oracle of the fast one: written from the specification alone, with its own constants. It
// allocates, copies and starts over at every call, and so is simple enough to be right.

export interface NaiveFrame {
  type: number;
  flags: number;
  streamId: number;
  /** The length field: of the payload for data, else the value that the frame carries. */
  length: number;
  /** What of the payload is there; empty for all but data frames. */
  payload: Buffer;
}

export interface NaiveResult {
  /** Frames whose header is complete; the payload of the last one may be cut short. */
  frames: NaiveFrame[];
  /** Whether the bytes end at the end of a frame. */
  atBoundary: boolean;
  /** Bytes after which no yamux frame follows; undefined when there is no such place. */
  malformedAt: number | undefined;
}

export function naiveEncode(frame: NaiveFrame): Buffer {
  const header = Buffer.alloc(12);
  header.writeUInt8(0, 0);
  header.writeUInt8(frame.type, 1);
  header.writeUInt16BE(frame.flags, 2);
  header.writeUInt32BE(frame.streamId, 4);
  header.writeUInt32BE(frame.length, 8);
  return Buffer.concat([header, frame.payload]);
}

export function naiveDecode(bytes: Buffer): NaiveResult {
  const frames: NaiveFrame[] = [];
  let offset = 0;
  while (bytes.length - offset >= 12) {
    const version = bytes.readUInt8(offset);
    const type = bytes.readUInt8(offset + 1);
    const flags = bytes.readUInt16BE(offset + 2);
    const streamId = bytes.readUInt32BE(offset + 4);
    const length = bytes.readUInt32BE(offset + 8);
    const belongsToStream = type === 0 || type === 1;
    const belongsToSession = type === 2 || type === 3;
    const good =
      version === 0 && flags <= 15 && ((belongsToStream && streamId !== 0) || (belongsToSession && streamId === 0));
    if (!good) return { frames, atBoundary: false, malformedAt: offset };
    offset += 12;
    const payloadLength = type === 0 ? length : 0;
    const payload = Buffer.from(bytes.subarray(offset, offset + payloadLength));
    frames.push({ type, flags, streamId, length, payload });
    offset += payloadLength;
  }
  return { frames, atBoundary: offset === bytes.length, malformedAt: undefined };
}
