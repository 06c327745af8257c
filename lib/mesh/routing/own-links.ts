// The links of this node as routes see them: who is there now, and what it costs to go there.

import type { NodeId } from '../../address.js';
import { hashText } from '../../util/choice.js';
import { NodeFlag, type NodeRecord } from '../../wire/records.js';
import { HOP_US, linkMicroseconds, TROUBLE_FACTOR } from './topology.js';

/** A link of this node, as its owner sees it. */
export interface LocalLink {
  readonly peerId: NodeId;
  /** The UUID of the run of the peer that is at the other end. */
  readonly bootId: string;
  /** The round trip, in ms. */
  readonly costMs: number;
  /** False: it reaches its peer and nobody beyond, as a shortcut or the link of a client does. */
  readonly isMesh: boolean;
  /** The peer has been silent for a while. */
  readonly isSuspect: boolean;
}

/** One peer, however many links there are to it. */
export class OwnLink {
  /** In µs, the hop included. */
  weight = 0;
  /** For the choice between equals. */
  readonly hash: number;

  constructor(
    readonly peerId: NodeId,
    public bootId: string,
    public costMs: number,
    public isMesh: boolean,
    public isSuspect: boolean,
  ) {
    this.hash = hashText(peerId);
  }

  weigh(record: NodeRecord | undefined): void {
    const inTrouble = this.isSuspect || (record !== undefined && (record.flags & NodeFlag.OVERLOAD) !== 0);
    this.weight = (linkMicroseconds(this.costMs) + HOP_US) * (inTrouble ? TROUBLE_FACTOR : 1);
  }

  /** Circuits may go on from the peer, as its record says: the one of the run that is at the other end. */
  leadsOn(record: NodeRecord | undefined): boolean {
    return this.isMesh && record !== undefined && record.bootId === this.bootId;
  }
}

/** One entry a peer: the better of two links, of which one leads on if either does. */
export function readLinks(links: Iterable<LocalLink>): Map<NodeId, OwnLink> {
  const read = new Map<NodeId, OwnLink>();
  for (const { peerId, bootId, costMs, isMesh, isSuspect } of links) {
    const known = read.get(peerId);
    if (known === undefined) read.set(peerId, new OwnLink(peerId, bootId, costMs, isMesh, isSuspect));
    else if (isBetter(known, isMesh, isSuspect, costMs)) {
      known.bootId = bootId;
      known.costMs = costMs;
      known.isMesh = isMesh;
      known.isSuspect = isSuspect;
    }
  }
  return read;
}

function isBetter(known: OwnLink, isMesh: boolean, isSuspect: boolean, costMs: number): boolean {
  if (known.isMesh !== isMesh) return isMesh;
  if (known.isSuspect !== isSuspect) return known.isSuspect;
  return costMs < known.costMs;
}
