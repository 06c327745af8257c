// The output of a decoder, gathered into frames again.

import { FrameDecoder, type FrameHandlers } from '../../lib/wire/frame-decoder.js';
import type { NaiveFrame } from './naive-codec.js';

export class Gathered implements FrameHandlers {
  readonly frames: NaiveFrame[] = [];
  /** Payload as it was passed on. */
  readonly chunks: Buffer[] = [];
  readonly malformed: string[] = [];
  /** Frames whose payload was reported as complete. */
  complete = 0;
  private parts: Buffer[] = [];

  onFrame(type: number, flags: number, streamId: number, length: number): void {
    this.frames.push({ type, flags, streamId, length, payload: Buffer.alloc(0) });
    this.parts = [];
  }

  onPayload(chunk: Buffer, last: boolean): void {
    if (chunk.length === 0) throw new Error('an empty part of a payload');
    this.chunks.push(chunk);
    this.parts.push(chunk);
    this.frames[this.frames.length - 1].payload = Buffer.concat(this.parts);
    if (last) this.complete++;
  }

  onMalformed(reason: string): void {
    this.malformed.push(reason);
  }
}

/** Decodes chunks one after the other with a fresh decoder. */
export function decodeChunks(chunks: readonly Buffer[]): { gathered: Gathered; decoder: FrameDecoder } {
  const gathered = new Gathered();
  const decoder = new FrameDecoder(gathered);
  for (const chunk of chunks) decoder.push(chunk);
  return { gathered, decoder };
}

/** The bytes cut at each of the offsets, which may come in any order. */
export function cutAt(bytes: Buffer, offsets: readonly number[]): Buffer[] {
  const sorted = [0, ...offsets, bytes.length].sort((left, right) => left - right);
  return sorted.slice(1).map((end, index) => bytes.subarray(sorted[index], end));
}
