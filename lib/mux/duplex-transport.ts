// The Duplex under a session: its events while the session lives, and how it is laid down afterwards.

import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { nextTick } from '../util/runtime/real-timers.js';
import type { Timers } from '../util/timers.js';

export interface CarrierHandlers {
  onBytes(chunk: Buffer): void;
  /** The peer sends no more. */
  onInputEnd(): void;
  onFailure(error: Error): void;
  onGone(): void;
}

/** Time for a GoAway with its reason to leave, and for the peer to end its side after that, in ms. */
const LINGER_MS = 1000;

/** What libuv reads at once. */
const READ_BYTES = 64 * 1024;

export class Carrier {
  /** The longest chunk that comes. */
  mostBytes = READ_BYTES;

  constructor(
    private readonly duplex: Duplex,
    private readonly timers: Timers,
    private readonly handlers: CarrierHandlers,
  ) {
    duplex.on('data', (chunk: Buffer) => {
      keptReads.onRead(chunk);
      handlers.onBytes(chunk);
    });
    duplex.once('end', () => handlers.onInputEnd());
    // Not once: a later error must not surface as an unhandled one.
    duplex.on('error', (error) => handlers.onFailure(error));
    duplex.once('close', () => handlers.onGone());
    if (duplex.destroyed) nextTick(() => handlers.onGone());
  }

  get isGone(): boolean {
    return this.duplex.destroyed;
  }

  /** Whether chunks are only lent from now on: their memory is used again when `onBytes` has returned. */
  lend(): boolean {
    const isLent = lendReads(this.duplex, (chunk) => this.handlers.onBytes(chunk));
    if (isLent) this.mostBytes = LOAN_BYTES;
    return isLent;
  }

  /**
   * Lets what was written leave, within `timeoutMs`, and waits a moment for the peer's end, then destroys the Duplex.
   */
  end(timeoutMs = LINGER_MS): void {
    const { duplex, timers } = this;
    if (duplex.destroyed) return;
    const deadline = { onDeadline: () => duplex.destroy() };
    let timer = timers.schedule(timeoutMs, deadline);
    duplex.once('close', () => timers.cancel(timer));
    // Reading goes on, so that the peer's end is seen and its last bytes do not turn the close into a reset.
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

// What a session has to know of the Duplex under it.

/** Whether a chunk is copied by the time its write is confirmed: a stream in memory hands it on instead. */
export function copiesWrites(duplex: Duplex): boolean {
  return duplex instanceof Socket;
}

/** Whether what is written is encrypted on its way (Node docs, tls: only a TLSSocket has `encrypted`). */
export function isEncrypted(duplex: Duplex): boolean {
  return 'encrypted' in duplex;
}

// Reading sockets into the same memory over and over. Else every read gets 64 KiB of its own, which a relay is done with at
// once: the collector has to run for every few tens of MiB, and each read misses the caches. One piece of memory does for all
// sockets, since nothing of a chunk is used when the next one is read.
//
// Node offers it as the option `onread` of net.Socket, which a socket that was accepted by a server cannot be given. So it
// is set here as that constructor sets it. Where a version of Node does not have it like that, nothing changes.

/** Read at once, at most. It stays in the caches, and takes several frames: their answers leave together. */
export const LOAN_BYTES = 256 * 1024;

let memory: Buffer | undefined;

interface Handle {
  useUserBuffer?(buffer: Buffer): void;
}

/**
 * From now on `onBytes` is given what arrives, in place of 'data' events, and the memory of a chunk is used again once it
 * returns. False when the duplex cannot do that, and nothing has changed.
 */
export function lendReads(duplex: Duplex, onBytes: (chunk: Buffer) => void): boolean {
  // What is encrypted is read into memory of its own in any case.
  if (!(duplex instanceof Socket) || isEncrypted(duplex) || duplex.destroyed || duplex.readableLength > 0) return false;
  const handle = Reflect.get(duplex, '_handle') as Handle | null | undefined;
  const [bufferKey, callbackKey] = ['kBuffer', 'kBufferCb'].map((name) =>
    Object.getOwnPropertySymbols(duplex).find(({ description }) => description === name),
  );
  if (bufferKey === undefined || callbackKey === undefined || typeof handle?.useUserBuffer !== 'function') return false;
  if (Reflect.get(duplex, bufferKey) !== null) return false;
  memory ??= Buffer.allocUnsafeSlow(LOAN_BYTES);
  Reflect.set(duplex, bufferKey, memory);
  Reflect.set(duplex, callbackKey, (length: number, bytes: Buffer) => {
    onBytes(bytes.subarray(0, length));
    return true;
  });
  handle.useUserBuffer(memory);
  return true;
}

// A few chunks of bulk input are kept for a while, so that malloc keeps the memory of all others. Every read gets 64 KiB of its
// own, and the collector frees tens of MiB of them at once. Where these are the top of the heap, glibc gives them back to the
// kernel (mallopt(3), M_TRIM_THRESHOLD), which clears every page again for the next reads: half of the time of a process that
// reads 1 GiB/s. With a chunk in use every few MiB there is never much at the top.

/** How many are kept, and how far apart, in bytes: together what comes between two runs of the collector. */
const KEPT = 8;
const APART_BYTES = 4 * 1024 * 1024;

/** Smaller ones are no bulk, in bytes. Half of a TLS record. */
const MIN_BYTES = 8 * 1024;
/** What a chunk may be part of, in bytes: as much as libuv reads at once. Other streams may give parts of what is huge. */
const MAX_MEMORY_BYTES = 64 * 1024;

export class KeptReads {
  readonly chunks: Buffer[] = [];
  private next = 0;
  private bytesSince = 0;

  /** A chunk was read into memory of its own. */
  onRead(chunk: Buffer): void {
    if (chunk.length < MIN_BYTES || chunk.buffer.byteLength > MAX_MEMORY_BYTES) return;
    this.bytesSince += chunk.length;
    if (this.bytesSince < APART_BYTES) return;
    this.bytesSince = 0;
    this.chunks[this.next] = chunk;
    this.next = (this.next + 1) % KEPT;
  }
}

/** Those of all links of this process: the heap is theirs together. */
export const keptReads = new KeptReads();
