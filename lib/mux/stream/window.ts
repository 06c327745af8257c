// Receive windows: when credit goes back, and how far a window grows. Pure: time and round trips are arguments.
//
//   window = credit the peer still has + bytes delivered but unread + bytes read but not yet granted again
//
// Credit returns only for bytes that the reader has consumed (rust-yamux #120: on arrival, streams overran buffers).

/**
 * Credit in each direction that a hop of a circuit through relays begins with, in bytes: a quarter of what yamux promises
 * any stream, since a relay must keep that much for both directions of every circuit whose reader is slow.
 */
export const RELAYED_WINDOW_BYTES = 64 * 1024;

/**
 * Credit to grant now, in bytes; 0 while less than half of the window would be returned. Half keeps window updates rare
 * (two per window) and leaves the other half to cover the round trip, as hashicorp/yamux does.
 */
export function grantDue(windowBytes: number, credit: number, unread: number): number {
  const due = windowBytes - credit - unread;
  return due >= windowBytes >>> 1 ? due : 0;
}

/**
 * Round trips within which half a window must have been read for it to count as too small. With the round trip of an
 * idle link as the measure, 4 stops growth at about twice the bandwidth-delay product.
 */
const GROWTH_ROUND_TRIPS = 4;

/**
 * The window after half of it was read in `elapsedUs` microseconds: doubled while the peer is held back by it.
 * Without a measured round trip (`rttUs` 0) nothing grows.
 */
export function grownWindow(windowBytes: number, maxBytes: number, elapsedUs: number, rttUs: number): number {
  if (rttUs === 0 || elapsedUs >= rttUs * GROWTH_ROUND_TRIPS) return windowBytes;
  return Math.max(windowBytes, Math.min(windowBytes * 2, maxBytes));
}

/**
 * The round trip that a hop of a relayed circuit is taken to have at least, in microseconds. It begins with a small window, and
 * what goes by it waits for turns of two event loops at least: by the round trip of an idle link, which knows no such waits, it
 * would stay small, and the circuit slow.
 */
const RELAYED_ROUND_TRIP_US = 2_000;
/** Up to this size: fills 500 MiB/s at that round trip. */
const RELAYED_GROWTH_BYTES = 1024 * 1024;

/** As {@link grownWindow}, for a hop of a relayed circuit. */
export function grownRelayedWindow(windowBytes: number, maxBytes: number, elapsedUs: number, rttUs: number): number {
  const quick = grownWindow(windowBytes, Math.min(maxBytes, RELAYED_GROWTH_BYTES), elapsedUs, RELAYED_ROUND_TRIP_US);
  return Math.max(quick, grownWindow(windowBytes, maxBytes, elapsedUs, rttUs));
}

/** Full reads in a row that prove that input waits for this process, and not this process for input. */
const BACKLOG_READS = 16;

/**
 * Whether this side is the slower one. Then the input waits in buffers of the kernel, and larger windows would only make
 * that queue longer: slower for the cache, and ahead of every small message (1 MiB at most with the numbers above).
 */
export class InputBacklog {
  private fullReads = 0;

  /** `bytes` were read from the transport at once. As much as can be, `mostBytes`: there was probably more. */
  onRead(bytes: number, mostBytes: number): void {
    if (bytes < mostBytes) this.fullReads = 0;
    else this.fullReads++;
  }

  get isStanding(): boolean {
    return this.fullReads >= BACKLOG_READS;
  }
}

/**
 * What a session may hold for its streams' readers: the growth of windows beyond what they began with is taken from
 * it, and so are bytes delivered but unread.
 */
export class ReceiveBudget {
  private grown = 0;
  private unread = 0;

  /** `limitBytes`: bytes of growth, and bytes unread, that a session may have. */
  constructor(private readonly limitBytes: number) {}

  /** Whether a window may grow by `bytes`; if so they are taken. */
  tryGrow(bytes: number): boolean {
    if (this.grown + bytes > this.limitBytes) return false;
    this.grown += bytes;
    return true;
  }

  /** Bytes were delivered. False when more is unread now than the budget allows. */
  deliver(bytes: number): boolean {
    this.unread += bytes;
    return this.unread <= this.limitBytes;
  }

  /** Whether more is unread than it allows. */
  get isExceeded(): boolean {
    return this.unread > this.limitBytes;
  }

  consume(bytes: number): void {
    this.unread -= bytes;
  }

  /** A stream has ended: the growth of its window comes back. */
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
