// How much of a node the circuits of other nodes may take, and how long they may take to open.

/** Limits of relaying, each with what happens when it is reached. */
export interface RelayLimits {
  /**
   * Circuits that one neighbour may have through this node, default 65,536; one more is refused with LIMIT. Some 40 MB of
   * a relay while they are idle.
   */
  maxCircuitsPerNeighbour: number;
  /** Circuits of one source through this node, default 16,384: one node cannot take all that its neighbour may have. */
  maxCircuitsPerSource: number;
  /** Opens of one neighbour, per second and at once, default 5,000 and 10,000: refused with LIMIT beyond. */
  opensPerSecond: number;
  openBurst: number;
  /** Bytes of all circuits that no onward link has taken yet. Default 256 MiB. */
  poolBytes: number;
  /** The same for the circuits of one link, in either direction. Default 64 MiB. */
  poolBytesPerLink: number;
  /** The same for the circuits of one source. Default 64 MiB: a quarter of the pool. */
  poolBytesPerSource: number;
  /**
   * How far the windows of relayed streams grow here, in bytes, while the pool has room. Default 8 MiB: with half of a window
   * on its way back as credit, that fills 200 Mbit/s over a hop of 120 ms, which is what a TCP link of 4 MiB buffers carries.
   */
  maxWindowBytes: number;
  /** How long the id of a circuit is remembered, so that a loop is found, in ms. Default 30,000. */
  rememberMs: number;
  /** Ids remembered, at most. Default 262,144: what 30 s of opens at 8,700 a second come to, in 20 MB. */
  maxRemembered: number;
  /**
   * How long the next node may take to acknowledge the stream, and each one beyond to answer its OPEN, in ms. Default
   * 1,500. Where there is another way, the acknowledgement has half a second. Both are longer on a link whose round trip is long or
   * whose answers are sometimes late, see open/hop-timeout.ts.
   */
  hopTimeoutMs: number;
  /**
   * How long the reader of a circuit may take nothing of what its sender had sent, and ended, before the sender was reset, in ms.
   * Then the reader is reset as well. Default 15,000.
   */
  drainTimeoutMs: number;
  /** Time for an OPEN that does not say how much is left, in ms. Default 5,000. */
  openTimeoutMs: number;
}

/** The limits that a node takes from its options. */
interface RelayOptions {
  readonly maxCircuitsPerNeighbour: number;
  readonly maxCircuitsPerSource: number;
  readonly relayOpensPerSecond: number;
  readonly relayPoolBytes: number;
}

export function relayLimits(options: RelayOptions): RelayLimits {
  const { maxCircuitsPerNeighbour, maxCircuitsPerSource, relayOpensPerSecond, relayPoolBytes } = options;
  return {
    ...DEFAULT_RELAY_LIMITS,
    maxCircuitsPerNeighbour,
    maxCircuitsPerSource,
    opensPerSecond: relayOpensPerSecond,
    openBurst: 2 * relayOpensPerSecond,
    poolBytes: relayPoolBytes,
    poolBytesPerLink: relayPoolBytes / 4,
    poolBytesPerSource: relayPoolBytes / 4,
  };
}

const MIB = 1024 * 1024;

export const DEFAULT_RELAY_LIMITS: Readonly<RelayLimits> = Object.freeze({
  maxCircuitsPerNeighbour: 65_536,
  maxCircuitsPerSource: 16_384,
  opensPerSecond: 5_000,
  openBurst: 10_000,
  poolBytes: 256 * MIB,
  poolBytesPerLink: 64 * MIB,
  poolBytesPerSource: 64 * MIB,
  maxWindowBytes: 8 * MIB,
  rememberMs: 30_000,
  maxRemembered: 262_144,
  hopTimeoutMs: 1_500,
  drainTimeoutMs: 15_000,
  openTimeoutMs: 5_000,
});
