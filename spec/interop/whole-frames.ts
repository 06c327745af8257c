// The transport between the mux and yamux-js, in memory: each frame reaches yamux-js as a separate chunk.

import { Duplex, type Transform } from 'node:stream';
import {
  encodeHeader,
  Flag,
  FrameType,
  HEADER_BYTES,
  readFlags,
  readLength,
  readStreamId,
  readType,
} from '../../lib/wire/header.js';

/** A frame that has passed towards yamux-js. */
export interface PassedFrame {
  type: number;
  flags: number;
  length: number;
}

/**
 * The duplex to make a mux session of. What the mux writes is cut at the ends of frames, and a SYN that carries data
 * becomes a SYN and then the data, as yamux-js drops the payload of a frame with SYN.
 */
export class WholeFrames extends Duplex {
  readonly passed: PassedFrame[] = [];
  private pending = Buffer.alloc(0);
  private readonly waiters = new Set<() => void>();

  constructor(private readonly yamuxJs: Transform) {
    super();
    yamuxJs.on('data', (chunk: Buffer) => this.push(chunk));
    yamuxJs.on('end', () => this.push(null));
  }

  /** Resolves when `count` frames for which `matches` is true have passed. */
  frames(count: number, matches: (frame: PassedFrame) => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = () => {
        if (this.passed.filter(matches).length < count) return;
        this.waiters.delete(look);
        resolve();
      };
      this.waiters.add(look);
      look();
    });
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.pending = Buffer.concat([this.pending, chunk]);
    for (let size = frameBytes(this.pending); size <= this.pending.length; size = frameBytes(this.pending)) {
      this.pass(this.pending.subarray(0, size));
      this.pending = this.pending.subarray(size);
    }
    done();
  }

  override _final(done: (error?: Error | null) => void): void {
    this.yamuxJs.end();
    done();
  }

  private pass(frame: Buffer): void {
    const [type, flags, length] = [readType(frame, 0), readFlags(frame, 0), readLength(frame, 0)];
    if (type === FrameType.DATA && flags & Flag.SYN) {
      const streamId = readStreamId(frame, 0);
      this.deliver(encodeHeader(FrameType.WINDOW_UPDATE, Flag.SYN, streamId, 0));
      this.deliver(
        Buffer.concat([encodeHeader(type, flags & ~Flag.SYN, streamId, length), frame.subarray(HEADER_BYTES)]),
      );
    } else {
      this.deliver(frame);
    }
    this.passed.push({ type, flags, length });
    for (const look of this.waiters) look();
  }

  private deliver(frame: Buffer): void {
    if (!this.yamuxJs.writableEnded) this.yamuxJs.write(Buffer.from(frame));
  }
}

/** The size of the frame that begins here; more than there is while its header is not whole. */
function frameBytes(bytes: Buffer): number {
  if (bytes.length < HEADER_BYTES) return HEADER_BYTES;
  return HEADER_BYTES + (readType(bytes, 0) === FrameType.DATA ? readLength(bytes, 0) : 0);
}
