// A Duplex around a lean stream: what both the sockets of nodes and the streams of plain sessions are made of.
//
// Credit goes back to the peer when the user has read the bytes. Node does not report that: they have been read when they have left the
// readable buffer, whose length is checked after each push and each read.

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
  kIsReadAtOnce,
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

// It is also a sink of its stream; those members are not for users.
export abstract class StreamDuplex extends Duplex {
  protected [kStream]: ByteStream | null = null;
  /** The async context (AsyncLocalStorage) of its events: that of the code that made it, not that of the link. */
  protected [kScope]: AsyncResource;
  /** Bytes pushed into the readable buffer whose credit has not gone back. */
  private [kUncredited] = 0;
  /** Bytes taken from Node's write buffer since the start. */
  private [kDispatched] = 0;
  /** The current write: its size, the bytes that the transport has not taken, and its callback. */
  private [kWriting] = 0;
  private [kUnsent] = 0;
  private [kWriteCallback]: WriteCallback | null = null;
  /** The peer has ended, and everything that it sent was delivered. */
  protected [kIsInputWhole] = false;
  /** Why the stream was lost while there was something left to read. */
  private [kLost]: Error | null = null;
  private [kHasWrittenToLost] = false;
  /** The read of the link (a count of {@link inputReads}) that brought the last emitted event. */
  private [kEmittedAt] = -1;
  /** Events that wait for their own tick: chunks, null for the end, an error for a reset. */
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
    // Before the events that wait are emitted: they can still be read if the stream is lost now.
    this[kIsInputWhole] = true;
    if (this[kMustWait]) this[kWait](null);
    else this[kScope].runInAsyncScope(this[kEmitEnd], this, stream);
  }

  /** @internal */
  [kOnReset](_stream: ByteStream, error: Error): void {
    if (this[kMustWait]) this[kWait](error);
    else this[kScope].runInAsyncScope(this[kEmitReset], this, error);
  }

  /** @internal Emits the next event that waits. Returns true while more wait. */
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

  /** Records that an event was emitted: further events of the same read are emitted later. */
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
      if (!this[kEmitDirectly](chunk)) this.push(this[kIsReadAtOnce] ? chunk : unpinned(chunk));
    } finally {
      // Also when a listener throws.
      if (this.readableLength === 0) {
        const consumed = this[kUncredited];
        this[kUncredited] = 0;
        stream.consumed(consumed);
      }
    }
  }

  /** Whether a chunk does not wait: data flows, or a reader with nothing to read waits for 'readable'. */
  private get [kIsReadAtOnce](): boolean {
    return this.readableFlowing === true || (this.readableLength === 0 && this.listenerCount('readable') > 0);
  }

  /**
   * Does what push does while data flows and nothing is buffered, without its bookkeeping for sources that Node asks to read.
   * Returns false when the chunk has to be pushed.
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
    // After all other listeners: TLS may have begun on this socket at any time before.
    if (!this.allowHalfOpen) this.once('end', stayOpenBelowTls);
    this.push(null);
    // Without a reader 'end' would never be emitted; with data still buffered this does nothing.
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

  /** Prepares for data: without a first read, Node delays the first chunk by a tick. */
  protected [kStartReading](): void {
    super.read(0);
  }

  override _read(): void {
    // Data comes when the peer sends it; credit is what asks for it.
  }

  /** Returns credit for what was read. `wanted`: the bytes that a reader waits for; if that is more than there is, all credit goes back. */
  private [kCreditConsumed](wanted: number): void {
    const left = this.readableLength;
    const consumed = wanted > left ? this[kUncredited] : this[kUncredited] - left;
    if (consumed <= 0 || this[kStream] === null) return;
    this[kUncredited] -= consumed;
    this[kStream].consumed(consumed);
  }

  // --- writing ---

  /**
   * Writes as any Writable does. A small chunk that can be sent at once bypasses Node's write buffer, which would do the same with
   * more work.
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

  /** Fails a write after the end of the peer has also ended the writing half, which the writer has not ended. */
  private [kRefuseWrite](encoding: unknown, callback: unknown): boolean {
    const error = endedByOther();
    const onWritten = typeof encoding === 'function' ? encoding : callback;
    if (typeof onWritten === 'function') nextTick(onWritten as WriteCallback, error);
    this.destroy(error);
    return false;
  }

  /** Returns whether writes may go to the stream at once. */
  protected get [kCanSendDirectly](): boolean {
    return true;
  }

  /** Returns the bytes that the user has written, including those in buffers. */
  protected get [kTotalWritten](): number {
    return this[kDispatched] + this.writableLength - this[kWriting];
  }

  /** Returns the written bytes that have left the buffer of Node's Writable. */
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
   * Answers a write to a stream that was lost. TLS answers the end of the peer with a close_notify. A kernel would take that, whether or
   * not the peer is still there, and an error would discard what the user has not read.
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

  /** Begins a write of `bytes`; `callback` is called when the transport has taken all of it. */
  protected [kDispatch](bytes: number, callback: WriteCallback): void {
    this[kDispatched] += bytes;
    this[kWriting] = bytes;
    this[kWriteCallback] = callback;
  }

  protected [kCountSent](bytes: number): void {
    this[kUnsent] -= bytes;
  }

  /** Called when the stream that took parts of the write is gone: they do not count as sent. */
  protected [kForgetSent](): void {
    this[kUnsent] = 0;
  }

  /** Sends a part of the current write. */
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

  /**
   * Adds an empty 'error' listener: a peer or the network must not crash a process whose code does not listen for errors. 'close' follows
   * in any case.
   */
  protected [kIgnoreErrors](): void {
    // Always: the listeners of now may be removed by the time of the event.
    this.on('error', ignore);
  }

  /** @internal Lets the user read on after a loss, as TCP on Linux, where a reset after the end of the peer discards nothing. */
  [kReadOn](_stream: ByteStream, error: Error): boolean {
    if (!this[kIsInputWhole] || this[kWriteCallback] !== null || this.writableLength > 0) return false;
    const isTls = isBelowTls(this);
    // TLS may still have to deliver to its reader what it has read from here.
    if (this.readableEnded && !isTls) return false;
    this[kIgnoreErrors]();
    this[kLost] = error;
    // A user that only reads has received everything and needs no error; a user that wants to write gets it.
    if (!isTls && this.allowHalfOpen && !this.writableEnded) this.once('end', () => this.destroy(error));
    return true;
  }

  /** Undoes destroy(), so that the socket can have another stream. */
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
      // Bytes that have arrived and will not be read, or that were written and will not be sent, are lost: the peer gets a reset, as from
      // TCP. An error concerns this side only, and what was sent before it arrives, as from net.Socket.
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
 * Keeps the writing half open for TLS, which writes its close_notify, and all that is still to be sent, after the end of the peer. TLS
 * uses a socket of the system below `allowHalfOpen`; a Duplex would end itself, and TLS would lose the rest.
 */
function stayOpenBelowTls(this: StreamDuplex): void {
  if (isBelowTls(this)) this.allowHalfOpen = true;
}

/**
 * Returns whether the data goes to the wrapper that node:tls puts around a Duplex (lib/internal/js_stream_socket.js in Node). That
 * wrapper leaves no other trace.
 */
function isBelowTls(stream: StreamDuplex): boolean {
  return stream.listeners('data').some((listener) => String(listener).includes('_handle.readBuffer('));
}

/** Returns a chunk that may be kept: the chunk itself, or a copy if it is a small part of a large piece of memory. */
export function unpinned(chunk: Buffer): Buffer {
  return chunk.length * PINNED_SHARE > chunk.buffer.byteLength ? chunk : copyOf(chunk);
}
