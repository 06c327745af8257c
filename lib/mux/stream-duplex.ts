// A Duplex around a lean stream: what both the sockets of nodes and the streams of plain sessions are made of.
//
// Credit goes back to the peer when the user's reader has taken the bytes out of the Duplex, which Node does not tell:
// they have been taken when they left the readable buffer, and that is looked at after each push and each read.

import { AsyncResource } from 'node:async_hooks';
import { Duplex, type DuplexOptions } from 'node:stream';
import { copyOf } from '../util/buffers.js';
import { endedByOther, streamDestroyed } from '../util/runtime/node-errors.js';
import { nextTick } from '../util/runtime/real-timers.js';
import {
  kCanSendDirectly,
  kCountSent,
  kCreditConsumed,
  kDispatch,
  kDispatched,
  kEmitData,
  kEmitDirectly,
  kEmitEnd,
  kEmitNext,
  kEmitReset,
  kEmittedAt,
  kFinishWrite,
  kForgetSent,
  kHasUnsent,
  kHasWrittenToLost,
  kIgnoreErrors,
  kIsInputWhole,
  kIsWriting,
  kLost,
  kMarkEmitted,
  kMustWait,
  kOnData,
  kOnEnd,
  kOnReset,
  kOnSent,
  kReadOn,
  kRefuseWrite,
  kRevive,
  kScope,
  kSendChunk,
  kStartReading,
  kStream,
  kTotalDispatched,
  kTotalWritten,
  kUncredited,
  kUnsent,
  kWait,
  kWaiting,
  kWaitingAt,
  kWriteCallback,
  kWriteToLost,
  kWriting,
} from './hidden.js';
import { COPY_BYTES } from './send/output.js';
import { emitLater, inputReads } from './stream/deferred-events.js';
import type { ByteStream } from './stream/sink.js';

/** A write callback of Node's Writable. */
type WriteCallback = (error?: Error | null) => void;

/** A slice that waits in a buffer keeps its whole chunk alive; below this share of it, it is copied out. */
const PINNED_SHARE = 4;

/** Corked chunks up to this sum leave as one frame. */
const JOIN_BYTES = 4 * COPY_BYTES;

// Also a StreamSink, but those members are not for users.
export abstract class StreamDuplex extends Duplex {
  protected [kStream]: ByteStream | null = null;
  /** Whom its events belong to: they run in the async context (AsyncLocalStorage) of whoever made it, not of the link. */
  protected [kScope]: AsyncResource;
  /** Bytes pushed into the readable buffer whose credit has not gone back. */
  private [kUncredited] = 0;
  /** Bytes taken over from Node's write buffer since the start. */
  private [kDispatched] = 0;
  /** The write that is going on: its size, what of it the transport has not taken, and whom to tell. */
  private [kWriting] = 0;
  private [kUnsent] = 0;
  private [kWriteCallback]: WriteCallback | null = null;
  /** The peer has sent all it had to send, and it was delivered. */
  protected [kIsInputWhole] = false;
  /** Why the stream was lost, where there was something left to read. */
  private [kLost]: Error | null = null;
  private [kHasWrittenToLost] = false;
  /** The read of a link that brought the last event. */
  private [kEmittedAt] = -1;
  /** Events that wait for a tick of their own: chunks, null for the end, an error for a reset. */
  private [kWaiting]: Array<Buffer | null | Error> | null = null;
  private [kWaitingAt] = 0;

  protected constructor(options: DuplexOptions, scope: AsyncResource = new AsyncResource('STARLANESOCKET')) {
    super(options);
    this[kScope] = scope;
  }

  // --- reading ---

  /** @internal */
  [kOnData](stream: ByteStream, chunk: Buffer): void {
    if (this.destroyed) return;
    if (this[kMustWait]) this[kWait](chunk);
    else {
      // What is only buffered is no event.
      if (this.readableFlowing === true) this[kEmittedAt] = inputReads.count;
      this[kScope].runInAsyncScope(this[kEmitData], this, stream, chunk);
    }
  }

  /** @internal */
  [kOnEnd](stream: ByteStream): void {
    // Ahead of what waits: that is read on as well if the stream is lost now.
    this[kIsInputWhole] = true;
    if (this[kMustWait]) this[kWait](null);
    else this[kScope].runInAsyncScope(this[kEmitEnd], this, stream);
  }

  /** @internal */
  [kOnReset](_stream: ByteStream, error: Error): void {
    if (this[kMustWait]) this[kWait](error);
    else this[kScope].runInAsyncScope(this[kEmitReset], this, error);
  }

  /** @internal The next event that waits. */
  [kEmitNext](): boolean {
    const { [kWaiting]: waiting, [kStream]: stream } = this;
    if (waiting === null || stream === null) return false;
    const event = waiting[this[kWaitingAt]++];
    if (this[kWaitingAt] === waiting.length) this[kWaiting] = null;
    const { [kScope]: scope } = this;
    if (event === null) scope.runInAsyncScope(this[kEmitEnd], this, stream);
    else if (event instanceof Error) scope.runInAsyncScope(this[kEmitReset], this, event);
    else if (!this.destroyed) scope.runInAsyncScope(this[kEmitData], this, stream, event);
    return this[kWaiting] !== null;
  }

  /** An event has been told: what else the same read has brought comes later. */
  protected [kMarkEmitted](): void {
    this[kEmittedAt] = inputReads.count;
  }

  private get [kMustWait](): boolean {
    return this[kWaiting] !== null || this[kEmittedAt] === inputReads.count;
  }

  private [kWait](event: Buffer | null | Error): void {
    if (this[kWaiting] !== null) {
      this[kWaiting].push(event);
      return;
    }
    this[kWaiting] = [event];
    this[kWaitingAt] = 0;
    emitLater(this);
  }

  protected [kEmitData](stream: ByteStream, chunk: Buffer): void {
    const { length } = chunk;
    this[kUncredited] += length;
    try {
      if (!this[kEmitDirectly](chunk)) this.push(this.readableFlowing === true ? chunk : unpinned(chunk));
    } finally {
      // Also when a listener throws.
      if (this.readableLength === 0) {
        const consumed = this[kUncredited];
        this[kUncredited] = 0;
        stream.consumed(consumed);
      }
    }
  }

  /**
   * What push comes to while data flows and nothing is buffered, without its bookkeeping for sources that are asked to
   * read. False when it has to be pushed.
   */
  private [kEmitDirectly](chunk: Buffer): boolean {
    return (
      this.readableFlowing === true &&
      this.readableLength === 0 &&
      this.readableDidRead &&
      this.readableEncoding === null &&
      this.emit('data', chunk)
    );
  }

  protected [kEmitEnd](_stream: ByteStream): void {
    // Behind all other listeners: TLS on top may have begun at any time before.
    if (!this.allowHalfOpen) this.once('end', stayOpenBelowTls);
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
      if (this[kUncredited] > 0) this[kCreditConsumed](chunk === null && size !== undefined ? size : 0);
    }
    return chunk;
  }

  /** From here on data may come: without a first read, Node holds the first chunk back for a tick. */
  protected [kStartReading](): void {
    super.read(0);
  }

  override _read(): void {
    // Data comes when the peer sends it; credit is what asks for it.
  }

  /** `wanted`: bytes that the reader waits for at once; when it wants more than it has, what it has may not hold it up. */
  private [kCreditConsumed](wanted: number): void {
    const left = this.readableLength;
    const consumed = wanted > left ? this[kUncredited] : this[kUncredited] - left;
    if (consumed <= 0 || this[kStream] === null) return;
    this[kUncredited] -= consumed;
    this[kStream].consumed(consumed);
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
      this[kCanSendDirectly] &&
      chunk.length > 0 &&
      this[kStream]?.tryWrite(chunk) === true
    ) {
      this[kDispatched] += chunk.length;
      return true;
    }
    if (!this.allowHalfOpen && this.writableEnded && this.readableEnded) return this[kRefuseWrite](encoding, callback);
    return super.write(chunk, encoding as BufferEncoding, callback as WriteCallback);
  }

  /** The other end has ended, and so the writing half was ended too, for a writer who did not ask for that. */
  private [kRefuseWrite](encoding: unknown, callback: unknown): boolean {
    const error = endedByOther();
    const told = typeof encoding === 'function' ? encoding : callback;
    if (typeof told === 'function') nextTick(told as WriteCallback, error);
    this.destroy(error);
    return false;
  }

  /** Whether writes may go to the stream at once. */
  protected get [kCanSendDirectly](): boolean {
    return true;
  }

  /** Bytes written by the user, those that wait in buffers included. */
  protected get [kTotalWritten](): number {
    return this[kDispatched] + this.writableLength - this[kWriting];
  }

  /** Bytes of those that have left the buffer of Node's Writable. */
  protected get [kTotalDispatched](): number {
    return this[kDispatched];
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: WriteCallback): void {
    if (this[kLost] !== null) {
      this[kWriteToLost](callback);
      return;
    }
    const { length } = chunk;
    if (this[kStream]?.write(chunk) === true) {
      this[kDispatched] += length;
      callback();
      return;
    }
    this[kUnsent] += length;
    this[kDispatch](length, callback);
  }

  override _writev(items: Array<{ chunk: Buffer; encoding: BufferEncoding }>, callback: WriteCallback): void {
    if (this[kLost] !== null) {
      this[kWriteToLost](callback);
      return;
    }
    let bytes = 0;
    for (const { chunk } of items) bytes += chunk.length;
    const chunks = items.map(({ chunk }) => chunk);
    if (bytes <= JOIN_BYTES) {
      StreamDuplex.prototype._write.call(this, Buffer.concat(chunks, bytes), 'utf8', callback);
      return;
    }
    this[kDispatch](bytes, callback);
    for (const chunk of chunks) this[kSendChunk](chunk);
    if (this[kUnsent] === 0) this[kFinishWrite](null);
  }

  /**
   * TLS answers the end of the peer with a close_notify. A kernel would take that, whether or not the peer is still there, and an
   * error would cost the reader what he has not read.
   */
  private [kWriteToLost](callback: WriteCallback): void {
    const isTaken = !this[kHasWrittenToLost] && isBelowTls(this);
    this[kHasWrittenToLost] = true;
    callback(isTaken ? null : this[kLost]);
  }

  override _final(callback: WriteCallback): void {
    this[kStream]?.end();
    callback();
  }

  /** @internal */
  [kOnSent](_stream: ByteStream, bytes: number): void {
    this[kCountSent](bytes);
    if (this[kUnsent] === 0 && this[kWriteCallback] !== null)
      this[kScope].runInAsyncScope(this[kFinishWrite], this, null);
  }

  /** A write of `bytes` is going on; `callback` is called when the transport has taken all of it. */
  protected [kDispatch](bytes: number, callback: WriteCallback): void {
    this[kDispatched] += bytes;
    this[kWriting] = bytes;
    this[kWriteCallback] = callback;
  }

  protected [kCountSent](bytes: number): void {
    this[kUnsent] -= bytes;
  }

  /** The stream that took parts of the write is gone, and none of it counts. */
  protected [kForgetSent](): void {
    this[kUnsent] = 0;
  }

  /** Sends a part of the write that is going on. */
  protected [kSendChunk](chunk: Buffer): void {
    if (this[kStream] !== null && !this[kStream].write(chunk)) this[kUnsent] += chunk.length;
  }

  protected [kFinishWrite](error: Error | null): void {
    const callback = this[kWriteCallback];
    if (callback === null) return;
    this[kWriteCallback] = null;
    this[kWriting] = 0;
    this[kUnsent] = 0;
    callback(error);
  }

  protected get [kIsWriting](): boolean {
    return this[kWriteCallback] !== null;
  }

  protected get [kHasUnsent](): boolean {
    return this[kUnsent] > 0;
  }

  // --- the end ---

  protected [kEmitReset](error: Error): void {
    this[kIgnoreErrors]();
    this.destroy(error);
  }

  /** What a peer or the network does crashes no process, also where nobody listens; 'close' follows in any case. */
  protected [kIgnoreErrors](): void {
    // Whoever listens now may have stopped by the time of the event.
    this.on('error', ignore);
  }

  /** @internal As TCP on Linux, where a reset after the end of the peer takes nothing from the reader. */
  [kReadOn](_stream: ByteStream, error: Error): boolean {
    if (!this[kIsInputWhole] || this[kWriteCallback] !== null || this.writableLength > 0) return false;
    const isTls = isBelowTls(this);
    // TLS may still have to give its reader what it has taken from here.
    if (this.readableEnded && !isTls) return false;
    this[kIgnoreErrors]();
    this[kLost] = error;
    // Whoever only reads has got everything, and hears of no error; whoever wants to write hears of it.
    if (!isTls && this.allowHalfOpen && !this.writableEnded) this.once('end', () => this.destroy(error));
    return true;
  }

  /** Takes back what destroy() has done, so that another stream can follow. */
  protected [kRevive](): void {
    (this as unknown as { _undestroy(): void })._undestroy();
    this.removeListener('error', ignore);
    this[kStream] = null;
    this[kWaiting] = null;
    this[kEmittedAt] = -1;
    this[kUncredited] = 0;
    this[kDispatched] = 0;
    this[kIsInputWhole] = false;
    this[kLost] = null;
    this[kHasWrittenToLost] = false;
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    const { [kStream]: stream } = this;
    if (stream !== null) {
      // Bytes that arrived and that nobody will read are lost, or bytes that were written: the peer hears of it, as from TCP.
      // An error is an affair of this side, and what was sent before it arrives, as from net.Socket.
      const isUnread = this.readableLength > 0 || this[kWaiting] !== null || this[kLost] !== null;
      const isDropped = this.writableLength > this[kWriting];
      if (isUnread || isDropped) stream.reset();
      else stream.close();
    }
    this[kWaiting] = null;
    this[kUncredited] = 0;
    if (this[kWriteCallback] !== null) this[kFinishWrite](error ?? streamDestroyed());
    callback(error);
  }
}

function ignore(): void {}

/**
 * TLS on top of a Duplex writes its close_notify, and all that is still to be sent, after the end of the peer. A socket of the system
 * is read and written below TLS, whatever its `allowHalfOpen`; a Duplex ends itself there, and TLS loses the rest.
 */
function stayOpenBelowTls(this: StreamDuplex): void {
  if (isBelowTls(this)) this.allowHalfOpen = true;
}

/**
 * Whether data goes to the stand-in for a handle that node:tls puts on a Duplex (lib/internal/js_stream_socket.js in Node), which
 * leaves no other trace on it.
 */
function isBelowTls(stream: StreamDuplex): boolean {
  return stream.listeners('data').some((listener) => String(listener).includes('_handle.readBuffer('));
}

/** A chunk that may wait: the rest of the memory that it is a part of does not wait with it. */
export function unpinned(chunk: Buffer): Buffer {
  return chunk.length * PINNED_SHARE > chunk.buffer.byteLength ? chunk : copyOf(chunk);
}
