// Frames without payload that wait while the Duplex is blocked, twelve bytes each.

import { HEADER_BYTES, writeHeader } from '../../wire/header.js';

/**
 * Bytes of control frames that may wait, unless told otherwise. Window updates are bounded by the streams; what a peer can
 * cause beyond that (pongs, resets of its opens) without reading is hostile.
 */
export const CONTROL_QUEUE_BYTES = 16 * 1024 * 1024;

export class ControlQueue {
  private frames: Buffer | null = null;
  private bytes = 0;

  constructor(private readonly maxBytes: number) {}

  get byteLength(): number {
    return this.bytes;
  }

  /** False when too many wait already. */
  push(type: number, flags: number, streamId: number, length: number): boolean {
    const end = this.bytes + HEADER_BYTES;
    if (end > this.maxBytes) return false;
    if (this.frames === null || end > this.frames.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(1024, end * 2));
      this.frames?.copy(larger, 0, 0, this.bytes);
      this.frames = larger;
    }
    writeHeader(this.frames, this.bytes, type, flags, streamId, length);
    this.bytes = end;
    return true;
  }

  /** All of them, in order. The queue must not be empty, and is afterwards. */
  take(): Buffer {
    const frames = (this.frames as Buffer).subarray(0, this.bytes);
    this.clear();
    return frames;
  }

  clear(): void {
    this.frames = null;
    this.bytes = 0;
  }
}
