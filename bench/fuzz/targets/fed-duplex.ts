// The Duplex under a session that is fuzzed: inputs are fed by hand, what the session writes is checked and thrown away.

import { Duplex } from 'node:stream';
import { FrameDecoder, type FrameHandlers } from '../../../lib/wire/frame-decoder.js';
import { must } from '../target.js';

type WriteCallback = (error?: Error | null) => void;

const IGNORED = (): void => {};

export class FedDuplex extends Duplex implements FrameHandlers {
  /** What the session has written. */
  bytesOut = 0;
  /** What it was fed. */
  bytesIn = 0;
  /** The peer takes nothing: no write is ever confirmed. */
  isStuck = false;
  /** Optional callbacks for what the session writes. */
  onWritten: (bytes: Buffer) => void = IGNORED;
  onFrame: (type: number, flags: number, streamId: number, length: number) => void = IGNORED;
  onPayload: (chunk: Buffer) => void = IGNORED;
  private waiting: WriteCallback | undefined;
  private fault: string | undefined;
  private readonly decoder = new FrameDecoder(this);

  constructor() {
    super({ allowHalfOpen: true, highWaterMark: 16 * 1024 });
  }

  feed(bytes: Buffer): void {
    this.bytesIn += bytes.length;
    // A session of ours keeps parts of it, as of what the kernel has given.
    if (!this.readableEnded && !this.destroyed) this.push(bytes);
  }

  feedEnd(): void {
    if (!this.readableEnded && !this.destroyed) this.push(null);
  }

  unstick(): void {
    this.isStuck = false;
    const { waiting } = this;
    this.waiting = undefined;
    waiting?.();
  }

  /** @throws Violation when the session has written what no peer would accept */
  check(): void {
    must(this.fault === undefined, `the session writes no yamux: ${this.fault}`);
  }

  onMalformed(reason: string): void {
    this.fault = reason;
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: WriteCallback): void {
    this.onChunk(chunk);
    this.confirm(callback);
  }

  override _writev(items: Array<{ chunk: Buffer }>, callback: WriteCallback): void {
    for (const { chunk } of items) this.onChunk(chunk);
    this.confirm(callback);
  }

  override _final(callback: WriteCallback): void {
    callback();
  }

  private onChunk(chunk: Buffer): void {
    this.bytesOut += chunk.length;
    this.onWritten(chunk);
    this.decoder.push(chunk);
  }

  private confirm(callback: WriteCallback): void {
    if (this.isStuck) this.waiting = callback;
    else callback();
  }
}
