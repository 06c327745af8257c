// Those who have connected and are not peers yet: in the middle of tls or of the handshake. Each may cost a file descriptor,
// a tls handshake and some KiB, so there are only so many at a time.
//
// One who is slow gives way: else a hundred who say nothing could keep all others out, for as long as they come back. One
// who is not, stays whoever else comes, as otherwise many at once would turn each other away, and none would get through.

import { starlaneError } from '../../errors.js';
import type { Timers } from '../../util/timers.js';

/** A handshake with a peer at the other end of the world is done by then, in ms. */
const PATIENCE_MS = 1_000;

export class Stranger {
  /** @internal */
  constructor(
    readonly sinceMs: number,
    /** Has to go; by then it may be another who sees to that than who let it in. */
    public turnAway: (error: Error) => void,
  ) {}
}

export class Strangers {
  /** The one that has been there for longest comes first. */
  private readonly all = new Set<Stranger>();

  constructor(
    private readonly max: number,
    private readonly timers: Timers,
  ) {}

  get count(): number {
    return this.all.size;
  }

  /** One more, if there is room; {@link leave} is to be called with it then. */
  admit(turnAway: (error: Error) => void): Stranger | undefined {
    if (this.all.size >= this.max && !this.makeRoom()) return undefined;
    const stranger = new Stranger(this.timers.now(), turnAway);
    this.all.add(stranger);
    return stranger;
  }

  /** It is a peer now, or gone. May be called more than once. */
  leave(stranger: Stranger): void {
    this.all.delete(stranger);
  }

  private makeRoom(): boolean {
    const [oldest] = this.all;
    if (oldest === undefined || this.timers.now() - oldest.sinceMs < PATIENCE_MS) return false;
    this.all.delete(oldest);
    oldest.turnAway(tooMany());
    return true;
  }
}

/** What one who is turned away is turned away with. */
export function tooMany(): Error {
  return starlaneError('ERR_STARLANE_LINK_LIMIT', 'too many handshakes at a time');
}
