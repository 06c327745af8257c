// What arrives on a socket that was paused before it was connected, as by pauseOnConnect, until somebody wants to read it. A
// kernel keeps it outside of net.Socket: it does not count as read, and 'end' waits behind it. Here its credit waits too, so
// that there is never more of it than the window of the stream.

import { unpinned } from '../../mux/stream-duplex.js';

/** Where a socket keeps it: by a name that no library uses for something of its own. */
export const HELD = Symbol('held');

export class HeldInput {
  readonly chunks: Buffer[] = [];
  /** The peer has ended behind it. */
  isEnded = false;

  push(chunk: Buffer): void {
    this.chunks.push(unpinned(chunk));
  }
}
