// The types of path.mjs, for specs.

/** One of the two ends. */
export type Side = 'a' | 'b';

/** The properties of the path, the same in both directions. */
export interface Conditions {
  /** In bit/s; 0: no limit. */
  rate: number;
  /** The round trip without any queue. */
  rttMs: number;
  /** The queue in front of the rate. Default: the product of rate and round trip, at least 64 KiB. */
  queueBytes?: number;
  /** The share of packets that is lost at random in each direction, 0 to 1. Default 0. */
  loss?: number;
  /** What TCP sockets in both namespaces use. Default 'cubic'. */
  congestion?: string;
  /** Of the random losses. Default 1. */
  seed?: number;
}

export interface PathStats {
  queueDrops: number;
  /** Includes those of an outage. */
  randomDrops: number;
  packets: number;
  mostQueuedBytes: number;
  /** How much later than it should a packet arrived, as the machine was busy. */
  mostLateMs: number;
}

/** Returns why there can be no path on this machine, undefined when there can. */
export function obstacle(): { reason: string; isMissing: boolean } | undefined;

/** Two namespaces and the path between them. Each is for one `start` and one `stop`. */
export class Path {
  /** Rejects when the path ends other than by `stop`. */
  readonly failed: { readonly promise: Promise<never> };
  start(conditions: Conditions): Promise<void>;
  /** Changes the path from now on; what is not given stays as it is. `dark` loses everything, what is on its way included. */
  set(changes: { rate?: number; rttMs?: number; queueBytes?: number; loss?: number; dark?: boolean }): Promise<void>;
  /** Returns what was counted since the start or the last call, both directions in sum. */
  stats(): Promise<PathStats>;
  addressOf(side: Side): string;
  /** Returns the prefix that runs a command inside the namespace of an end. */
  enter(side: Side): string[];
  /** Ends the path and removes the namespaces; processes inside are up to who started them. */
  stop(): Promise<void>;
}
