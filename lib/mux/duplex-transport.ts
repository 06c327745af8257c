// The Duplex under a session: its events while the session lives, and its end in order.
//
// What this file relies on inside Node and libc is fenced here: the private fields of net.Socket by which reads share one piece of
// memory (lendReads), and a heap that glibc trims (KeptReads). docs/internals-of-node.md lists what happens where they are missing.

import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { nextTick } from '../util/runtime/real-timers.js';
import { type Clock, systemClock, type Timers } from '../util/timers.js';
import type { MuxSession } from './session.js';

/** Time for a GoAway with its reason to leave, and after that for the peer to end its side, in ms. */
const LINGER_MS = 1000;

/** The size of one read of libuv. */
const READ_BYTES = 64 * 1024;

export class DuplexTransport {
  /** The longest chunk that is read at once, in bytes. */
  maxReadBytes = READ_BYTES;

  constructor(
    private readonly duplex: Duplex,
    private readonly timers: Timers,
    private readonly session: MuxSession,
  ) {
    duplex.on('data', (chunk: Buffer) => {
      keptReads.onRead(chunk);
      session.onBytes(chunk);
    });
    duplex.once('end', () => session.onInputEnd());
    // Not once: a later error must not become an uncaught one.
    duplex.on('error', (error) => session.onTransportLost(error));
    duplex.once('close', () => session.onTransportLost());
    if (duplex.destroyed) nextTick(() => session.onTransportLost());
  }

  get isClosed(): boolean {
    return this.duplex.destroyed;
  }

  /** Lends chunks from now on: their memory is reused when `onBytes` has returned. False where the Duplex cannot do that. */
  lendReads(): boolean {
    const isLent = lendReads(this.duplex, (chunk) => this.session.onBytes(chunk));
    if (isLent) this.maxReadBytes = LOAN_BYTES;
    return isLent;
  }

  /** Lets everything that was written leave, within `timeoutMs`, waits a moment for the peer's end, and destroys the Duplex. */
  end(timeoutMs = LINGER_MS): void {
    const { duplex, timers } = this;
    if (duplex.destroyed) return;
    const deadline = { onDeadline: () => duplex.destroy() };
    let timer = timers.schedule(timeoutMs, deadline);
    duplex.once('close', () => timers.cancel(timer));
    // Reading continues, so that the peer's end is seen and its last bytes do not turn the close into a reset.
    duplex.resume();
    duplex.once('end', () => this.destroyWhenWritten());
    duplex.end(() => {
      timers.cancel(timer);
      if (duplex.readableEnded) duplex.destroy();
      else if (!duplex.destroyed) timer = timers.schedule(LINGER_MS, deadline);
    });
  }

  destroy(): void {
    this.duplex.destroy();
  }

  private destroyWhenWritten(): void {
    if (this.duplex.writableFinished) this.duplex.destroy();
  }
}

/** Returns whether a chunk has been copied by the time its write is confirmed: a stream in memory passes it on instead. */
export function copiesWrites(duplex: Duplex): boolean {
  return duplex instanceof Socket;
}

/** Returns whether the Duplex encrypts what is written (Node docs, tls: only a TLSSocket has `encrypted`). */
export function isEncrypted(duplex: Duplex): boolean {
  return 'encrypted' in duplex;
}

// --- reads that share one piece of memory ---
//
// By default every read gets 64 KiB of its own, which a relay is done with at once: the garbage collector has to run for every few tens
// of MiB, and each read misses the caches. One piece of memory serves all sockets, since nothing of a chunk is used when the next one is
// read. Node offers this as the option `onread` of net.Socket, but a socket that a server has accepted cannot be given options. So the
// fields are set here as the constructor of net.Socket sets them.

/** The size of that memory. It stays in the caches, and holds several frames, whose answers leave together. */
const LOAN_BYTES = 256 * 1024;

let loanedMemory: Buffer | undefined;

interface Handle {
  useUserBuffer?(buffer: Buffer): void;
}

/**
 * Calls `onBytes` with everything that arrives from now on, in place of 'data' events; the memory of a chunk is reused when
 * it returns. False where the Duplex, or this version of Node, cannot do that, and then nothing has changed.
 */
export function lendReads(duplex: Duplex, onBytes: (chunk: Buffer) => void): boolean {
  // TLS decrypts into memory of its own in any case.
  if (!(duplex instanceof Socket) || isEncrypted(duplex) || duplex.destroyed || duplex.readableLength > 0) return false;
  const handle = Reflect.get(duplex, '_handle') as Handle | null | undefined;
  const [bufferKey, callbackKey] = ['kBuffer', 'kBufferCb'].map((name) =>
    Object.getOwnPropertySymbols(duplex).find(({ description }) => description === name),
  );
  if (bufferKey === undefined || callbackKey === undefined || typeof handle?.useUserBuffer !== 'function') return false;
  if (Reflect.get(duplex, bufferKey) !== null) return false;
  loanedMemory ??= Buffer.allocUnsafeSlow(LOAN_BYTES);
  Reflect.set(duplex, bufferKey, loanedMemory);
  Reflect.set(duplex, callbackKey, (length: number, bytes: Buffer) => {
    onBytes(bytes.subarray(0, length));
    return true;
  });
  handle.useUserBuffer(loanedMemory);
  return true;
}

// --- reads that keep the heap ---

/** How many chunks are kept, and how far apart, in bytes: together as much as arrives between two runs of the garbage collector. */
const KEPT = 8;
const APART_BYTES = 4 * 1024 * 1024;

/** Chunks are dropped when no bulk has come for that long, in ms. */
const IDLE_MS = 3_000;

/** Smaller chunks are no bulk, in bytes. Half of a TLS record. */
const MIN_BYTES = 8 * 1024;
/** The most memory that a kept chunk may be a part of, in bytes. Other streams may pass on parts of something huge. */
const MAX_MEMORY_BYTES = READ_BYTES;

/**
 * Keeps a few chunks of bulk input for a while, so that malloc keeps the memory of all others. Every read gets 64 KiB of its own, and the
 * garbage collector frees tens of MiB of them at once. If these are the top of the heap, glibc returns them to the kernel (mallopt(3),
 * M_TRIM_THRESHOLD), which clears every page again for the next reads: half of the time of a process that reads 1 GiB/s. With a chunk in
 * use every few MiB there is never much free memory at the top.
 */
export class KeptReads {
  readonly chunks: Buffer[] = [];
  private next = 0;
  private bytesSince = 0;
  private wasUsed = false;
  private isWaiting = false;

  constructor(private readonly clock: Clock = systemClock) {}

  /** A chunk was read into memory of its own. */
  onRead(chunk: Buffer): void {
    if (chunk.length < MIN_BYTES || chunk.buffer.byteLength > MAX_MEMORY_BYTES) return;
    this.bytesSince += chunk.length;
    if (this.bytesSince < APART_BYTES) return;
    this.bytesSince = 0;
    this.chunks[this.next] = chunk;
    this.next = (this.next + 1) % KEPT;
    this.wasUsed = true;
    if (!this.isWaiting) this.wait();
  }

  private wait(): void {
    this.isWaiting = true;
    this.clock.setTimeout(() => this.onIdle(), IDLE_MS);
  }

  /** Without bulk, the memory goes back to the kernel: a process that rests is smaller by a fifth then. */
  private onIdle(): void {
    if (this.wasUsed) {
      this.wasUsed = false;
      return this.wait();
    }
    this.isWaiting = false;
    this.chunks.length = 0;
    this.next = 0;
  }
}

/** The chunks of all links of this process, which share its heap. */
const keptReads = new KeptReads();
