// SYNs and ACKs that no frame has carried yet: each leaves alone at the end of the turn unless data has taken it along.

import { FrameType } from '../../wire/header.js';
import type { MuxStream } from '../stream/stream.js';
import type { Output } from './output.js';

export class OwedFlags {
  private streams: MuxStream[] = [];

  add(stream: MuxStream): void {
    this.streams.push(stream);
  }

  clear(): void {
    this.streams = [];
  }

  /** Writes those that are still owed. */
  writeTo(output: Output): void {
    if (this.streams.length === 0) return;
    const owing = this.streams;
    this.streams = [];
    for (const stream of owing) {
      // Queued data will carry it. Alone, the SYNs of a burst would fill the peer's backlog ahead of what they open for.
      if (stream.isClosed || stream.queuedBytes > 0) continue;
      const flags = stream.takeOwedFlags();
      if (flags !== 0) output.frame(FrameType.WINDOW_UPDATE, flags, stream.id, 0);
    }
  }
}
