// The ids that one side of a session gives to the streams it opens: odd for the client, even for the server
// (yamux spec, "StreamID Field"), 2^31 - 1 of them each.

import { MAX_UINT32 } from '../../wire/header.js';

export class StreamIds {
  private next: number;
  private readonly first: number;
  private hasWrapped = false;

  /**
   * @param client which side this is
   * @param wraps whether ids may be used again once their streams are gone; not with peers that never expect it
   * @param start where to begin (rounded up to the side's parity), for tests near the end of the range
   */
  constructor(
    private readonly client: boolean,
    private readonly wraps: boolean,
    start = 1,
  ) {
    this.first = client ? 1 : 2;
    const parity = this.first & 1;
    this.next = Math.max(this.first, start % 2 === parity ? start : start + 1);
  }

  /** The next id that is not live; undefined when none are left. */
  take(live: ReadonlyMap<number, unknown>): number | undefined {
    if (this.next > MAX_UINT32) {
      if (!this.wraps) return undefined;
      this.next = this.first;
      this.hasWrapped = true;
    }
    // Only live ids are skipped, so the search ends after as many steps as there are streams.
    for (let skipped = 0; this.hasWrapped && live.has(this.next); skipped++) {
      if (skipped > live.size) return undefined;
      this.next += 2;
      if (this.next > MAX_UINT32) this.next = this.first;
    }
    const id = this.next;
    this.next += 2;
    return id;
  }

  /** Whether the peer may open a stream with this id: only with the parity of the other side. */
  isPeers(id: number): boolean {
    return (id & 1) === (this.client ? 0 : 1);
  }
}
