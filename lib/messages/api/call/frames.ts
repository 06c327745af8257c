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

/** Makes frames of chunks. What it holds is bounded by the largest item. */
export class CallFrameDecoder {
  private chunks: Buffer[] = [];
  private bytes = 0;
  /** Of the frame that is being read; undefined before its prefix is there. */
  private kind: FrameKind | undefined;
  private length = 0;

  /** @param maxItemBytes of the payload of an ITEM */
  constructor(private readonly maxItemBytes: number) {}

  push(chunk: Buffer): void {
    if (chunk.length === 0) return;
    this.chunks.push(chunk);
    this.bytes += chunk.length;
  }

  /** Returns the next frame, or undefined when more bytes are needed. @throws ERR_STARLANE_MESSAGE_PROTOCOL, ERR_STARLANE_MESSAGE_SIZE */
  next(): Frame | undefined {
    if (this.kind === undefined) {
      if (this.bytes < PREFIX_BYTES) return undefined;
      const prefix = this.take(PREFIX_BYTES);
      this.kind = this.checkedKind(prefix[0]);
      this.length = this.checkedLength(this.kind, prefix.readUInt32BE(1));
    }
    if (this.bytes < this.length) return undefined;
    const frame = { kind: this.kind, payload: this.take(this.length) };
    this.kind = undefined;
    return frame;
  }

  /** Whether a frame has begun and is not whole. */
  get isInFrame(): boolean {
    return this.kind !== undefined || this.bytes > 0;
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

  private take(count: number): Buffer {
    this.bytes -= count;
    if (count === 0) return EMPTY;
    const [first] = this.chunks;
    if (first.length > count) {
      this.chunks[0] = first.subarray(count);
      return first.subarray(0, count);
    }
    if (first.length === count) {
      this.chunks.shift();
      return first;
    }
    const whole = Buffer.concat(this.chunks);
    this.chunks = whole.length > count ? [whole.subarray(count)] : [];
    return whole.subarray(0, count);
  }
}
