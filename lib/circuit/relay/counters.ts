// What a relay counts. A file of its own, as the types of the statistics need nothing else of the relay.

/** Counts of circuits through this node. */
export interface RelayCounters {
  /** Open now, and on their way to be. */
  circuits: number;
  pending: number;
  /** Since the start: stood, were not admitted or led nowhere, ended by the loss of a link or a limit. */
  opened: number;
  refused: number;
  lost: number;
  /** Since the start, payload in both directions. */
  bytes: number;
}
