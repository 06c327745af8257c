// Limits requests with wrong codes. A code has 128 bits, so nobody finds one by guessing; the limits bound what guesses cost, and make an
// attempt show up.

import { isIPv6 } from 'node:net';
import { RecentMap } from '../../util/recent-map.js';
import { afterTaking, type Rate, TokenBucket, waitMs } from '../../util/token-bucket.js';

/** Of one address: enough for a person who mistypes. */
const RATE_OF_ONE: Rate = { perS: 0.1, burst: 10 };
/** Of all: above it, a wrong code gets no other answer than one too many, and a right one still works. */
const RATE_OF_ALL: Rate = { perS: 10, burst: 200 };
/** A full bucket and no bucket are the same, so little is lost when the oldest go. */
const MAX_REMEMBERED = 10_000;

/** Of each source. */
export class GuessLimit {
  private readonly fullAtMs = new RecentMap<string, number>(MAX_REMEMBERED);

  /** @param now the time in ms, monotonic */
  constructor(private readonly now: () => number) {}

  /** Returns how long requests from an address have to wait, in ms; 0: not at all. Called before a code is looked up. */
  waitMs(address: string): number {
    return Math.max(0, Math.ceil(waitMs(this.fullAtMs.peek(sourceOf(address)) ?? 0, this.now(), RATE_OF_ONE)));
  }

  /** Called when a code was wrong. */
  onWrongCode(address: string): void {
    const source = sourceOf(address);
    this.fullAtMs.set(source, afterTaking(this.fullAtMs.peek(source) ?? 0, this.now(), RATE_OF_ONE));
  }
}

/** Of all sources together, at the issuer. */
export class TotalGuessLimit {
  private readonly bucket = new TokenBucket(RATE_OF_ALL);

  constructor(private readonly now: () => number) {}

  /** Called when a code was wrong. Returns whether there have been too many. */
  onWrongCode(): boolean {
    const now = this.now();
    if (!this.bucket.canTake(now)) return true;
    this.bucket.take(now);
    return false;
  }
}

/** Returns what counts as one source: an IPv4 address, or the /64 of an IPv6 address, of which one machine has all. */
function sourceOf(from: string): string {
  const host = /^(?:tls:\/\/)?\[?(.*?)\]?(?::\d+)?$/.exec(from)?.[1] ?? from;
  if (!isIPv6(host)) return host;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(host);
  if (mapped !== null) return mapped[1];
  const [head, tail] = host.split('%')[0].split('::');
  const groups = head === '' ? [] : head.split(':');
  if (tail !== undefined) {
    const after = tail === '' ? [] : tail.split(':');
    while (groups.length + after.length < 8) groups.push('0');
    groups.push(...after);
  }
  return groups.slice(0, 4).join(':');
}
