// Buffers into which small frames are written side by side, so that a turn of the event loop leaves as one write.
// A slab is used again once every write that holds a part of it has been confirmed.

/** Room for some 800 frames of 64 bytes. */
export const SLAB_BYTES = 64 * 1024;
/** Slabs kept for reuse by one session; more are left to the collector. */
const KEPT_SLABS = 4;

export interface Slab {
  readonly bytes: Buffer;
  /** Writes in flight that hold a part of it. */
  pending: number;
}

export class SlabPool {
  private readonly kept: Slab[] = [];

  take(): Slab {
    return this.kept.pop() ?? { bytes: Buffer.allocUnsafeSlow(SLAB_BYTES), pending: 0 };
  }

  giveBack(slab: Slab): void {
    if (this.kept.length < KEPT_SLABS) this.kept.push(slab);
  }
}
