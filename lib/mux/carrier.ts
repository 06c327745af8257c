// The Duplex under a session: its events while the session lives, and how it is laid down afterwards.

import type { Duplex } from 'node:stream';
import type { Timers } from '../util/timers.js';

export interface CarrierHandlers {
  onBytes(chunk: Buffer): void;
  /** The peer sends no more. */
  onInputEnd(): void;
  onFailure(error: Error): void;
  onGone(): void;
}

/** Time for the last bytes (a GoAway with its reason) to leave before the Duplex is destroyed, in ms. */
const LINGER_MS = 1000;

export class Carrier {
  constructor(
    private readonly duplex: Duplex,
    private readonly timers: Timers,
    handlers: CarrierHandlers,
  ) {
    duplex.on('data', (chunk: Buffer) => handlers.onBytes(chunk));
    duplex.once('end', () => handlers.onInputEnd());
    // Not once: a later error must not surface as an unhandled one.
    duplex.on('error', (error) => handlers.onFailure(error));
    duplex.once('close', () => handlers.onGone());
    if (duplex.destroyed) process.nextTick(() => handlers.onGone());
  }

  get isGone(): boolean {
    return this.duplex.destroyed;
  }

  /** Lets what was written leave and waits for the peer's end, then destroys the Duplex; all within {@link LINGER_MS}. */
  end(): void {
    const { duplex, timers } = this;
    if (duplex.destroyed) return;
    const timer = timers.schedule(LINGER_MS, { onDeadline: () => duplex.destroy() });
    duplex.once('close', () => timers.cancel(timer));
    // Reading goes on, so that the peer's end is seen and its last bytes do not turn the close into a reset.
    duplex.resume();
    duplex.once('end', () => this.destroyWhenWritten());
    duplex.end(() => {
      if (duplex.readableEnded) duplex.destroy();
    });
  }

  destroy(): void {
    this.duplex.destroy();
  }

  private destroyWhenWritten(): void {
    if (this.duplex.writableFinished) this.duplex.destroy();
  }
}
