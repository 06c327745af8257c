// The writing side of a Duplex under the control of a spec: it notes every call and confirms writes on command.

import type { Writer } from '../../lib/mux/send/output.js';
import { frameText } from './frames.js';
import { type NaiveFrame, naiveDecode } from './naive-codec.js';

type WriteCallback = (error?: Error | null) => void;

export class ManualWriter implements Writer {
  destroyed = false;
  writableEnded = false;
  /** What was written between cork and uncork, or by a single write. The buffers themselves, not copies. */
  readonly batches: Buffer[][] = [];
  /** The same bytes as they were when they were written. */
  readonly snapshots: Buffer[] = [];
  private corked: Buffer[] | undefined;
  private readonly callbacks: WriteCallback[] = [];
  private decoded = 0;

  write(chunk: Buffer, callback?: WriteCallback): boolean {
    if (callback !== undefined) this.callbacks.push(callback);
    if (this.corked !== undefined) this.corked.push(chunk);
    else this.add([chunk]);
    return true;
  }

  cork(): void {
    this.corked = [];
  }

  uncork(): void {
    if (this.corked !== undefined) this.add(this.corked);
    this.corked = undefined;
  }

  /** Writes that were not confirmed. */
  get pending(): number {
    return this.callbacks.length;
  }

  /** Confirms the oldest write, or fails it. */
  confirm(error?: Error): void {
    this.callbacks.shift()?.(error);
  }

  confirmAll(): void {
    while (this.callbacks.length > 0) this.confirm();
  }

  /** Frames written since the last call. */
  take(): NaiveFrame[] {
    const fresh = this.snapshots.slice(this.decoded);
    this.decoded = this.snapshots.length;
    const { frames, atBoundary } = naiveDecode(Buffer.concat(fresh));
    if (!atBoundary) throw new Error('something else than whole frames was written');
    return frames;
  }

  takeText(): string[] {
    return this.take().map(frameText);
  }

  private add(pieces: Buffer[]): void {
    this.batches.push(pieces);
    this.snapshots.push(Buffer.concat(pieces));
  }
}
