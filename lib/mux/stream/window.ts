// Receive windows: when credit goes back, and how far a window grows. Pure: time and round trips are arguments.
//
//   window = credit the peer still has + bytes delivered but unread + bytes read but not yet granted again
//
// Credit returns only for bytes that the reader has consumed. When it returned on arrival, streams overran buffers
// (rust-yamux #120).

/**
 * The credit in each direction with which a hop of a circuit through relays begins, in bytes: a quarter of what yamux promises
 * any stream, since a relay must hold that much for both directions of every circuit whose reader is slow.
 */
export const RELAYED_WINDOW_BYTES = 64 * 1024;

/**
 * Returns the credit to grant now, in bytes; 0 while less than half of the window would be returned. Half keeps window updates rare
 * (two per window) and leaves the other half to cover the round trip, as hashicorp/yamux does.
 */
export function grantDue(windowBytes: number, credit: number, unread: number): number {
  const due = windowBytes - credit - unread;
  return due >= windowBytes >>> 1 ? due : 0;
}

/**
 * A window is too small when half of it is read within so many round trips. With the round trip of an idle link, 4 stops
 * the growth at about twice the bandwidth-delay product.
 */
const GROWTH_ROUND_TRIPS = 4;

/**
 * Returns the size of a window after half of it was read in `elapsedUs` microseconds: doubled while it holds the peer back.
 * Without a measured round trip (`rttUs` 0) nothing grows.
 */
export function grownWindow(windowBytes: number, maxBytes: number, elapsedUs: number, rttUs: number): number {
  if (rttUs === 0 || elapsedUs >= rttUs * GROWTH_ROUND_TRIPS) return windowBytes;
  return Math.max(windowBytes, Math.min(windowBytes * 2, maxBytes));
}

/**
 * The least round trip that is assumed for a hop of a relayed circuit, in microseconds. Data on it waits for turns of at least two
 * event loops. The round trip of an idle link has no such waits: by that measure the window, which begins small, would stay
 * small, and the circuit slow.
 */
const RELAYED_ROUND_TRIP_US = 2_000;
/** The size up to which that round trip counts, in bytes: fills 500 MiB/s. */
const RELAYED_GROWTH_BYTES = 1024 * 1024;

/** Returns the same as {@link grownWindow}, for a hop of a relayed circuit. */
export function grownRelayedWindow(windowBytes: number, maxBytes: number, elapsedUs: number, rttUs: number): number {
  const quick = grownWindow(windowBytes, Math.min(maxBytes, RELAYED_GROWTH_BYTES), elapsedUs, RELAYED_ROUND_TRIP_US);
  return Math.max(quick, grownWindow(windowBytes, maxBytes, elapsedUs, rttUs));
}

/** So many full reads in a row show that input waits for this process, and not this process for input. */
const BEHIND_READS = 16;

/**
 * Finds out whether this side is the slower one. If so, input waits in buffers of the kernel, and larger windows would only make that
 * queue longer: slower for the cache, and ahead of every small message (1 MiB at most with the numbers above).
 */
export class ReceiverLoad {
  private fullReads = 0;

  /** `bytes` were read from the transport at once. When that is as much as possible, `maxBytes`, there was probably more. */
  onRead(bytes: number, maxBytes: number): void {
    if (bytes < maxBytes) this.fullReads = 0;
    else this.fullReads++;
  }

  /** Whether input waits for this process. */
  get isBehind(): boolean {
    return this.fullReads >= BEHIND_READS;
  }
}

/**
 * What a session may hold for the readers of its streams: the growth of windows beyond their initial size, and bytes delivered
 * but unread. Each has the same limit.
 */
export class ReceiveBudget {
  private grown = 0;
  private unread = 0;

  /** `limitBytes`: how many bytes windows may have grown, and how many bytes may be unread. */
  constructor(private readonly limitBytes: number) {}

  /** Takes `bytes` for the growth of a window. False when they are not left. */
  tryGrow(bytes: number): boolean {
    if (this.grown + bytes > this.limitBytes) return false;
    this.grown += bytes;
    return true;
  }

  /** Counts bytes that were delivered. False when more is unread now than the budget allows. */
  deliver(bytes: number): boolean {
    this.unread += bytes;
    return this.unread <= this.limitBytes;
  }

  /** Whether more is unread than the budget allows. */
  get isExceeded(): boolean {
    return this.unread > this.limitBytes;
  }

  consume(bytes: number): void {
    this.unread -= bytes;
  }

  /** Returns the growth of the window of a stream that has ended. */
  release(grownBytes: number): void {
    this.grown -= grownBytes;
  }

  get unreadBytes(): number {
    return this.unread;
  }

  get grownBytes(): number {
    return this.grown;
  }
}
