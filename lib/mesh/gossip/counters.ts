// What the gossip counts, for stats and for specs.

export class GossipCounters {
  recordsIn = 0;
  recordsOut = 0;
  /** Of records alone, without digests and entries. */
  bytesIn = 0;
  bytesOut = 0;
  /** Copies of what was known. */
  duplicates = 0;
  /** Copies of what was known better, or of no use any more. */
  outdated = 0;
  /** Signatures that were checked. */
  verified = 0;
  /** Of those, the ones that were wrong. */
  invalid = 0;
  /** Records that were taken. */
  accepted = 0;
  /** Records that came too fast for their origin and had to wait. */
  parked = 0;
  /** Records that a limit of size or number kept out. */
  rejected = 0;
  /** Two records under one number. */
  twins = 0;
  /** Exchanges that this node began. */
  syncs = 0;
  /** Requests of peers that were not answered because they ask for too much. */
  unanswered = 0;
  /** Own records made. */
  originations = 0;
  /** Own identity met elsewhere. */
  echoes = 0;
  /** Records that were forgotten because their node is gone. */
  expired = 0;
  /** Links that were ended for what came over them. */
  punished = 0;
}
