// What travels on the circuit of one call: frames of a byte for the kind, four for the length, and the payload. Pure.
//
//   caller -> server   ITEM... (the input), then END
//   server -> caller   ITEM... (the output), then END, or ERROR
//
// What is called stands in the header of the preamble. The server closes its direction behind its last frame, and the caller when it has that:
// until then a reset cancels the call, and is noticed at once. (After the end of a direction, a reset comes behind what is still to be read.)

import { messageError } from '../../outcome.js';

export const FrameKind = { ITEM: 1, END: 2, ERROR: 3 } as const;
export type FrameKind = (typeof FrameKind)[keyof typeof FrameKind];

export interface Frame {
  readonly kind: FrameKind;
  readonly payload: Buffer;
}

const PREFIX_BYTES = 5;
/** Of ERROR, which is JSON. */
export const MAX_ERROR_BYTES = 64 * 1024;
const EMPTY: Buffer = Buffer.alloc(0);

/** Returns the bytes of a frame, in parts. */
export function encodeFrame(kind: FrameKind, payload: readonly Uint8Array[] = []): Uint8Array[] {
  let length = 0;
  for (const part of payload) length += part.length;
  const prefix = Buffer.allocUnsafe(PREFIX_BYTES);
  prefix[0] = kind;
  prefix.writeUInt32BE(length, 1);
  return [prefix, ...payload];
}

/** What a frame that is cut gets at first. It grows with what arrives, and not with what its length claims. */
const MIN_ROOM_BYTES = 4 * 1024;

/** Makes frames of chunks. What it holds is bounded by the largest item, however small the chunks are. */
export class CallFrameDecoder {
  /** What has not been looked at. */
  private chunks: Buffer[] = [];
  private readonly prefix = Buffer.allocUnsafe(PREFIX_BYTES);
  private prefixBytes = 0;
  /** Of the frame that is being read; undefined before its prefix is there. */
  private kind: FrameKind | undefined;
  private length = 0;
  private payload = EMPTY;
  private filled = 0;

  /** @param maxItemBytes of the payload of an ITEM */
  constructor(private readonly maxItemBytes: number) {}

  push(chunk: Buffer): void {
    if (chunk.length > 0) this.chunks.push(chunk);
  }

  /** Returns the next frame, or undefined when more bytes are needed. @throws ERR_STARLANE_MESSAGE_PROTOCOL, ERR_STARLANE_MESSAGE_SIZE */
  next(): Frame | undefined {
    for (;;) {
      if (this.kind !== undefined && this.filled === this.length) {
        const frame = { kind: this.kind, payload: this.payload };
        this.kind = undefined;
        this.payload = EMPTY;
        this.filled = 0;
        return frame;
      }
      const chunk = this.chunks.shift();
      if (chunk === undefined) return undefined;
      const at = this.read(chunk);
      if (at < chunk.length) this.chunks.unshift(chunk.subarray(at));
    }
  }

  /** Whether a frame has begun and is not whole. */
  get isInFrame(): boolean {
    return this.kind !== undefined || this.prefixBytes > 0 || this.chunks.length > 0;
  }

  /** Reads up to the end of the current frame. Returns how many bytes that were. */
  private read(chunk: Buffer): number {
    let at = 0;
    if (this.kind === undefined) {
      at = chunk.copy(this.prefix, this.prefixBytes);
      this.prefixBytes += at;
      if (this.prefixBytes < PREFIX_BYTES) return at;
      this.prefixBytes = 0;
      this.kind = this.checkedKind(this.prefix[0]);
      this.length = this.checkedLength(this.kind, this.prefix.readUInt32BE(1));
    }
    const end = Math.min(chunk.length, at + this.length - this.filled);
    if (end - at === this.length) this.payload = chunk.subarray(at, end);
    else {
      this.makeRoom(end - at);
      chunk.copy(this.payload, this.filled, at, end);
    }
    this.filled += end - at;
    return end;
  }

  private makeRoom(bytes: number): void {
    const needed = this.filled + bytes;
    if (needed <= this.payload.length) return;
    const room = Math.max(needed, 2 * this.payload.length, MIN_ROOM_BYTES);
    const grown = Buffer.allocUnsafe(Math.min(this.length, room));
    this.payload.copy(grown, 0, 0, this.filled);
    this.payload = grown;
  }

  private checkedKind(kind: number): FrameKind {
    if (kind >= FrameKind.ITEM && kind <= FrameKind.ERROR) return kind as FrameKind;
    throw messageError('ERR_STARLANE_MESSAGE_PROTOCOL', 'unknown', `a frame of kind ${kind} in a call`);
  }

  private checkedLength(kind: FrameKind, length: number): number {
    if (kind === FrameKind.ITEM) {
      if (length <= this.maxItemBytes) return length;
      throw messageError('ERR_STARLANE_MESSAGE_SIZE', 'unknown', `an item of ${length} bytes, of ${this.maxItemBytes}`);
    }
    if (length <= MAX_ERROR_BYTES) return length;
    throw messageError('ERR_STARLANE_MESSAGE_PROTOCOL', 'unknown', `a frame of ${length} bytes in a call`);
  }
}
