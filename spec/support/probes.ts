// A session sends pings in line with its data, to learn how far the peer has read. Specs about anything else leave them
// out, and have them answered as any peer does that reads.

import { FrameDecoder } from '../../lib/wire/frame-decoder.js';
import type { NaiveFrame } from './naive-codec.js';

const PING = 2;
const SYN = 1;
/** The opaque values of these pings begin here. */
const FIRST_PROBE = 0x8000_0000;

function isProbe(type: number, flags: number, opaque: number): boolean {
  return type === PING && flags === SYN && opaque >= FIRST_PROBE;
}

export function withoutProbes(frames: readonly NaiveFrame[]): NaiveFrame[] {
  return frames.filter(({ type, flags, length }) => !isProbe(type, flags, length));
}

/** Finds the probes in what a session writes. */
export class ProbeFinder {
  private found: number[] = [];
  private readonly decoder = new FrameDecoder({
    onFrame: (type, flags, _streamId, length) => {
      if (isProbe(type, flags, length)) this.found.push(length);
    },
    onPayload() {},
    onMalformed() {},
  });

  push(bytes: Buffer): void {
    this.decoder.push(bytes);
  }

  /** The opaque values found since the last call. */
  take(): number[] {
    const { found } = this;
    this.found = [];
    return found;
  }
}
