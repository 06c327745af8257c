// A Duplex around a lean stream: what both the sockets of nodes and the streams of plain sessions are made of.
//
// Credit goes back to the peer when the user's reader has taken the bytes out of the Duplex, which Node does not tell:
// they have been taken when they left the readable buffer, and that is looked at after each push and each read.

import { Duplex, type DuplexOptions } from 'node:stream';
import { copyOf } from '../util/copy-of.js';
import { endedByOther, streamDestroyed } from '../util/node-errors.js';
import type { ByteStream } from './byte-stream.js';
import { COPY_BYTES } from './output.js';

/** A write callback of Node's Writable. */
type WriteCallback = (error?: Error | null) => void;

/** A slice that waits in a buffer keeps its whole chunk alive; below this share of it, it is copied out. */
const PINNED_SHARE = 4;

/** Corked chunks up to this sum leave as one frame. */
const JOIN_BYTES = 4 * COPY_BYTES;

// Also a StreamSink, but those members are not for users.
export abstract class StreamDuplex extends Duplex {
  protected stream: ByteStream | null = null;
  /** Bytes pushed into the readable buffer whose credit has not gone back. */
  private uncredited = 0;
  /** Bytes taken over from Node's write buffer since the start. */
  private dispatched = 0;
  /** The write that is going on: its size, what of it the transport has not taken, and whom to tell. */
  private writing = 0;
  private unsent = 0;
  private writeCallback: WriteCallback | null = null;
  /** The peer has sent all it had to send, and it was delivered. */
  protected isInputWhole = false;
  /** Why the stream was lost, where there was something left to read. */
  private lost: Error | null = null;

  protected constructor(options: DuplexOptions) {
    super(options);
  }

  // --- reading ---

  /** @internal */
  onData(stream: ByteStream, chunk: Buffer): void {
    if (this.destroyed) return;
    const { length } = chunk;
    this.uncredited += length;
    try {
      if (!this.emitDirectly(chunk)) this.push(this.readableFlowing === true ? chunk : unpinned(chunk));
    } finally {
      // Also when a listener throws.
      if (this.readableLength === 0) {
        const consumed = this.uncredited;
        this.uncredited = 0;
        stream.consumed(consumed);
      }
    }
  }

  /**
   * What push comes to while data flows and nothing is buffered, without its bookkeeping for sources that are asked to
   * read. False when it has to be pushed.
   */
  private emitDirectly(chunk: Buffer): boolean {
    return (
      this.readableFlowing === true &&
      this.readableLength === 0 &&
      this.readableDidRead &&
      this.readableEncoding === null &&
      this.emit('data', chunk)
    );
  }

  /** @internal */
  onEnd(_stream: ByteStream): void {
    this.isInputWhole = true;
    this.push(null);
    // Without a reader 'end' would never be noticed; with data still buffered this does nothing.
    if (this.readableLength === 0) this.read(0);
  }

  override read(size?: number): unknown {
    let chunk: unknown;
    try {
      chunk = super.read(size);
    } finally {
      // Also when a listener throws.
      if (this.uncredited > 0) this.creditConsumed(chunk === null && size !== undefined ? size : 0);
    }
    return chunk;
  }

  /** From here on data may come: without a first read, Node holds the first chunk back for a tick. */
  protected startReading(): void {
    super.read(0);
  }

  override _read(): void {
    // Data comes when the peer sends it; credit is what asks for it.
  }

  /** `wanted`: bytes that the reader waits for at once; when it wants more than it has, what it has may not hold it up. */
  private creditConsumed(wanted: number): void {
    const left = this.readableLength;
    const consumed = wanted > left ? this.uncredited : this.uncredited - left;
    if (consumed <= 0 || this.stream === null) return;
    this.uncredited -= consumed;
    this.stream.consumed(consumed);
  }

  // --- writing ---

  /**
   * As of every Writable. A small chunk that can leave at once does not pass through Node's write buffer, which would
   * come to the same with more work.
   */
  override write(chunk: unknown, callback?: WriteCallback): boolean;
  override write(chunk: unknown, encoding: BufferEncoding, callback?: WriteCallback): boolean;
  override write(chunk: unknown, encoding?: unknown, callback?: unknown): boolean {
    if (
      encoding === undefined &&
      callback === undefined &&
      chunk instanceof Buffer &&
      this.writableLength === 0 &&
      chunk.length < this.writableHighWaterMark &&
      this.writable &&
      this.writableCorked === 0 &&
      this.canSendDirectly &&
      chunk.length > 0 &&
      this.stream?.tryWrite(chunk) === true
    ) {
      this.dispatched += chunk.length;
      return true;
    }
    if (!this.allowHalfOpen && this.writableEnded && this.readableEnded) return this.refuseWrite(encoding, callback);
    return super.write(chunk, encoding as BufferEncoding, callback as WriteCallback);
  }

  /** The other end has ended, and so the writing half was ended too, for a writer who did not ask for that. */
  private refuseWrite(encoding: unknown, callback: unknown): boolean {
    const error = endedByOther();
    const told = typeof encoding === 'function' ? encoding : callback;
    if (typeof told === 'function') process.nextTick(told as WriteCallback, error);
    this.destroy(error);
    return false;
  }

  /** Whether writes may go to the stream at once. */
  protected get canSendDirectly(): boolean {
    return true;
  }

  /** Bytes written by the user, those that wait in buffers included. */
  protected get totalWritten(): number {
    return this.dispatched + this.writableLength - this.writing;
  }

  /** Bytes of those that have left the buffer of Node's Writable. */
  protected get totalDispatched(): number {
    return this.dispatched;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: WriteCallback): void {
    if (this.lost !== null) {
      callback(this.lost);
      return;
    }
    const { length } = chunk;
    if (this.stream?.write(chunk) === true) {
      this.dispatched += length;
      callback();
      return;
    }
    this.unsent += length;
    this.dispatch(length, callback);
  }

  override _writev(items: Array<{ chunk: Buffer; encoding: BufferEncoding }>, callback: WriteCallback): void {
    if (this.lost !== null) {
      callback(this.lost);
      return;
    }
    let bytes = 0;
    for (const { chunk } of items) bytes += chunk.length;
    const chunks = items.map(({ chunk }) => chunk);
    if (bytes <= JOIN_BYTES) {
      StreamDuplex.prototype._write.call(this, Buffer.concat(chunks, bytes), 'utf8', callback);
      return;
    }
    this.dispatch(bytes, callback);
    for (const chunk of chunks) this.sendChunk(chunk);
    if (this.unsent === 0) this.finishWrite(null);
  }

  override _final(callback: WriteCallback): void {
    this.stream?.end();
    callback();
  }

  /** @internal */
  onSent(_stream: ByteStream, bytes: number): void {
    this.countSent(bytes);
    if (this.unsent === 0) this.finishWrite(null);
  }

  /** A write of `bytes` is going on; `callback` is called when the transport has taken all of it. */
  protected dispatch(bytes: number, callback: WriteCallback): void {
    this.dispatched += bytes;
    this.writing = bytes;
    this.writeCallback = callback;
  }

  protected countSent(bytes: number): void {
    this.unsent -= bytes;
  }

  /** The stream that took parts of the write is gone, and none of it counts. */
  protected forgetSent(): void {
    this.unsent = 0;
  }

  /** Sends a part of the write that is going on. */
  protected sendChunk(chunk: Buffer): void {
    if (this.stream !== null && !this.stream.write(chunk)) this.unsent += chunk.length;
  }

  protected finishWrite(error: Error | null): void {
    const callback = this.writeCallback;
    if (callback === null) return;
    this.writeCallback = null;
    this.writing = 0;
    this.unsent = 0;
    callback(error);
  }

  protected get hasUnsent(): boolean {
    return this.unsent > 0;
  }

  // --- the end ---

  /** @internal */
  onReset(_stream: ByteStream, error: Error): void {
    // What a peer or the network does crashes no process, also where nobody listens; 'close' follows in any case.
    this.emit = emitUnlessUnheard;
    this.destroy(error);
  }

  /** @internal As TCP on Linux, where a reset after the end of the peer takes nothing from the reader. */
  readOn(_stream: ByteStream, error: Error): boolean {
    if (!this.isInputWhole || this.readableEnded || this.writeCallback !== null || this.writableLength > 0)
      return false;
    this.emit = emitUnlessUnheard;
    this.lost = error;
    // Whoever only reads has got everything, and hears of no error; whoever wants to write hears of it.
    if (this.allowHalfOpen && !this.writableEnded) this.once('end', () => this.destroy(error));
    return true;
  }

  /** Takes back what destroy() has done, so that another stream can follow. */
  protected revive(): void {
    (this as unknown as { _undestroy(): void })._undestroy();
    Reflect.deleteProperty(this, 'emit');
    this.stream = null;
    this.uncredited = 0;
    this.dispatched = 0;
    this.isInputWhole = false;
    this.lost = null;
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    const { stream } = this;
    if (stream !== null) {
      // Bytes that arrived and that nobody will read are lost: the peer hears of it, as from TCP.
      if (error !== null || this.readableLength > 0 || this.lost !== null) stream.reset();
      else stream.abandon();
    }
    this.uncredited = 0;
    if (this.writeCallback !== null) this.finishWrite(error ?? streamDestroyed());
    callback(error);
  }
}

function emitUnlessUnheard(this: StreamDuplex, event: string | symbol, ...values: unknown[]): boolean {
  if (event === 'error' && this.listenerCount('error') === 0) return false;
  return Duplex.prototype.emit.call(this, event, ...values);
}

/** A chunk that may wait: the rest of the memory that it is a part of does not wait with it. */
export function unpinned(chunk: Buffer): Buffer {
  return chunk.length * PINNED_SHARE > chunk.buffer.byteLength ? chunk : copyOf(chunk);
}
