// The option `onread` of net.Socket: what arrives is copied into a buffer of the user, and a callback gets the number of bytes. After the
// callback has returned false, what arrives is kept, and its credit as well, until resume().

import type { OnReadOpts } from 'node:net';
import type { ByteStream } from '../../mux/stream/sink.js';
import { nextTick } from '../../util/runtime/real-timers.js';

export class OnRead {
  private buffer: Uint8Array;
  private isPaused = false;
  private isFeeding = false;
  private waiting: Buffer[] = [];
  private stream: ByteStream | null = null;
  /** `this` of the callback. */
  private owner: unknown = undefined;
  private end: (() => void) | null = null;

  /** Returns whether the option is complete; net.Socket ignores an incomplete one. */
  static isWanted(options: unknown): options is OnReadOpts {
    if (typeof options !== 'object' || options === null) return false;
    const { buffer, callback } = options as Partial<OnReadOpts>;
    return typeof callback === 'function' && (typeof buffer === 'function' || buffer instanceof Uint8Array);
  }

  constructor(private readonly options: OnReadOpts) {
    const { buffer } = options;
    this.buffer = typeof buffer === 'function' ? buffer() : buffer;
  }

  /** Takes a chunk. `owner`: the socket. */
  push(owner: unknown, stream: ByteStream, chunk: Buffer): void {
    this.owner = owner;
    this.stream = stream;
    this.waiting.push(chunk);
    this.feed();
  }

  /** Delays the end while data waits. Returns false when none waits, and `emitEnd` is not called. */
  delayEnd(emitEnd: () => void): boolean {
    if (this.waiting.length === 0) return false;
    this.end = emitEnd;
    return true;
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
    // In the next tick: the code that resumes does not expect data before it has finished.
    if (this.waiting.length > 0) nextTick(() => this.feed());
  }

  /** Called when the socket is destroyed. */
  dispose(): void {
    this.waiting = [];
    this.end = null;
    this.isPaused = false;
  }

  private feed(): void {
    if (this.isFeeding) return;
    this.isFeeding = true;
    try {
      while (!this.isPaused && this.waiting.length > 0) this.give(this.waiting[0]);
    } finally {
      this.isFeeding = false;
    }
    if (this.end === null || this.waiting.length > 0) return;
    const { end } = this;
    this.end = null;
    end();
  }

  private give(chunk: Buffer): void {
    const length = Math.min(chunk.length, this.buffer.length);
    const { buffer } = this;
    buffer.set(chunk.subarray(0, length));
    if (length === chunk.length) this.waiting.shift();
    else this.waiting[0] = chunk.subarray(length);
    this.stream?.consumed(length);
    if (this.options.callback.call(this.owner, length, buffer) === false) this.isPaused = true;
    if (typeof this.options.buffer !== 'function') return;
    const next: unknown = this.options.buffer();
    if (next instanceof Uint8Array) this.buffer = next;
  }
}
