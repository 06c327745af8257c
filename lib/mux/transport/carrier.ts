// The Duplex under a session: its events while the session lives, and how it is laid down afterwards.

import type { Duplex } from 'node:stream';
import { nextTick } from '../../util/runtime/real-timers.js';
import type { Timers } from '../../util/timers.js';
import { keptReads } from './kept-reads.js';
import { LOAN_BYTES, lendReads } from './read-loan.js';

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
