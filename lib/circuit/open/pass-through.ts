// Sinks that stand between a stream and the sink of its user, and pass nearly everything on.

import { kOnData, kOnEnd, kOnReset, kOnSent, kReadOn } from '../../mux/hidden.js';
import type { MuxStream, StreamSink } from '../../mux/stream/stream.js';

/** Passes everything on. */
export class PassThroughSink implements StreamSink {
  constructor(readonly sink: StreamSink) {}

  get keepsNothing(): boolean {
    return this.sink.keepsNothing === true;
  }

  [kOnData](stream: MuxStream, chunk: Buffer): void {
    this.sink[kOnData](stream, chunk);
  }

  [kOnEnd](stream: MuxStream): void {
    this.sink[kOnEnd](stream);
  }

  [kOnSent](stream: MuxStream, bytes: number): void {
    this.sink[kOnSent](stream, bytes);
  }

  [kOnReset](stream: MuxStream, error: Error, reason: number): void {
    this.sink[kOnReset](stream, error, reason);
  }

  [kReadOn](stream: MuxStream, error: Error): boolean {
    return this.sink[kReadOn]?.(stream, error) === true;
  }

  onClosed(stream: MuxStream): void {
    this.sink.onClosed?.(stream);
  }

  onCredit(stream: MuxStream, bytes: number): void {
    this.sink.onCredit?.(stream, bytes);
  }

  growthLimit(stream: MuxStream): number {
    return this.sink.growthLimit === undefined ? stream.maxWindowBytes : this.sink.growthLimit(stream);
  }
}

/**
 * Keeps bytes that a circuit sends ahead of a socket's own (OPEN, or the reply) out of the socket's count of bytes sent. Only made
 * when the link is so busy that they have to wait in the stream's queue.
 */
export class QueuedPrefix extends PassThroughSink {
  constructor(
    sink: StreamSink,
    private bytes: number,
  ) {
    super(sink);
  }

  override [kOnSent](stream: MuxStream, bytes: number): void {
    const own = Math.min(bytes, this.bytes);
    this.bytes -= own;
    // Bytes leave in order, so all that follow are the socket's.
    if (this.bytes === 0 && stream.sink === this) stream.sink = this.sink;
    if (bytes > own) this.sink[kOnSent](stream, bytes - own);
  }
}
