// The links of this node as the routes see them: the peer that is connected now, and the cost.

import type { NodeId } from '../../address.js';
import { hashText } from '../../util/choice.js';
import { NodeFlag, type NodeRecord } from '../../wire/records.js';
import { HOP_US, linkMicroseconds, TROUBLE_FACTOR } from './topology.js';

/** A link of this node, as the control plane reports it. */
export interface LocalLink {
  readonly peerId: NodeId;
  /** The UUID of the run of the peer at the other end. */
  readonly bootId: string;
  /** The round trip, in ms. */
  readonly costMs: number;
  /** False for a link that reaches only its peer: a shortcut, or the link of a client. */
  readonly isMesh: boolean;
  /** The peer has been silent for a while. */
  readonly isSuspect: boolean;
}

/** A linked peer, however many links there are to it. */
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

  /** Whether circuits may pass through the peer: its record must be of the run at the other end of the link. */
  leadsOn(record: NodeRecord | undefined): boolean {
    return this.isMesh && record !== undefined && record.bootId === this.bootId;
  }
}

/** Returns one entry for each peer: the better of two links, and a mesh link if there is one. */
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
