// The circuits that nodes have opened here, so that an OPEN which a relay repeats is recognised before any guard is asked about it. Pure:
// time is an argument, in whole seconds.
//
// Only what a source has signed is remembered, so nobody can add to what is kept of another node. An OPEN of handshake 2 says when it was
// signed, and is refused when that is too long ago; so what is older need not be remembered. Where a source opens more circuits than are
// kept of it, the oldest are forgotten, and from then on an OPEN of this source that is not younger than those is refused as well: it
// may be one of them. So a source that floods a node harms late circuits of its own, and makes no replay possible.
//
// What is left: who can sign for more nodes than there is room for makes the node forget whole sources, those first that were silent for
// longest, and can then replay an OPEN of the last minutes of such a source. In a network of members each of them needs a certificate.

/** How far the clocks of two nodes may differ, and how long an OPEN may be on its way, in s. */
export const MAX_SKEW_S = 5 * 60;

/** An OPEN cannot be accepted any more when it was signed this long ago; the first half is for a clock that is fast. */
const REMEMBER_S = 2 * MAX_SKEW_S;

export interface ReplayLimits {
  /** Circuits in all, about 120 bytes each. */
  readonly maxCircuits: number;
  /** Of one source: those of several seconds, at the rate at which one node can check proofs. */
  readonly maxPerSource: number;
  /** Sources, about 300 bytes each. */
  readonly maxSources: number;
}

const LIMITS: ReplayLimits = { maxCircuits: 65_536, maxPerSource: 16_384, maxSources: 8_192 };

/** One source: the ids of its circuits with the time of each, the oldest first. */
class Source {
  readonly circuits = new Map<string, number>();
  /** Circuits up to this time may have been forgotten. */
  forgottenS = Number.NEGATIVE_INFINITY;
  lastS = 0;
}

export class ReplayCache {
  /** By public key, the one that was silent for longest first. */
  private readonly sources = new Map<string, Source>();
  private count = 0;

  constructor(private readonly limits: ReplayLimits = LIMITS) {}

  /** Circuits that are remembered. */
  get size(): number {
    return this.count;
  }

  get sourceCount(): number {
    return this.sources.size;
  }

  /** Returns whether this circuit is remembered. */
  has(publicKey: Uint8Array, circuitId: Uint8Array): boolean {
    return this.sources.get(keyOf(publicKey))?.circuits.has(keyOf(circuitId)) === true;
  }

  /** Returns whether a circuit that was signed at `signedS` may have been remembered once and be forgotten now. */
  mayHaveForgotten(publicKey: Uint8Array, signedS: number): boolean {
    const source = this.sources.get(keyOf(publicKey));
    return source !== undefined && signedS <= source.forgottenS;
  }

  /** Remembers a circuit whose signature was checked. */
  add(publicKey: Uint8Array, circuitId: Uint8Array, signedS: number, nowS: number): void {
    const { maxCircuits, maxPerSource, maxSources } = this.limits;
    const key = keyOf(publicKey);
    const known = this.sources.get(key);
    const source = known ?? new Source();
    // It becomes the one that was heard last.
    if (known !== undefined) this.sources.delete(key);
    this.sources.set(key, source);
    this.dropExpired(source, nowS);
    if (source.circuits.size >= maxPerSource) this.forgetOldest(source);
    source.circuits.set(keyOf(circuitId), signedS);
    source.lastS = nowS;
    this.count++;
    this.trim(nowS, maxCircuits, maxSources);
  }

  /** Makes room at the cost of the sources that were silent for longest. */
  private trim(nowS: number, maxCircuits: number, maxSources: number): void {
    for (const [key, source] of this.sources) {
      const isOver = nowS - source.lastS > REMEMBER_S;
      if (!isOver && this.sources.size <= maxSources) break;
      this.count -= source.circuits.size;
      this.sources.delete(key);
    }
    for (const source of this.sources.values()) {
      if (this.count <= maxCircuits) break;
      while (this.count > maxCircuits && source.circuits.size > 0) this.forgetOldest(source);
    }
  }

  private dropExpired({ circuits }: Source, nowS: number): void {
    for (const [id, signedS] of circuits) {
      if (nowS - signedS <= MAX_SKEW_S) break;
      circuits.delete(id);
      this.count--;
    }
  }

  private forgetOldest(source: Source): void {
    for (const [id, signedS] of source.circuits) {
      source.circuits.delete(id);
      source.forgottenS = Math.max(source.forgottenS, signedS);
      this.count--;
      return;
    }
  }
}

function keyOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}
