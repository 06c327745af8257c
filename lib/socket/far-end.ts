// Who is at the other end of a socket: shared by all sockets of a link, so that a socket carries a reference only.

import type { SocketAddresses } from './socket-addresses.js';

/** The two nodes between which sockets run. One object for all sockets between them. */
export interface FarEnd {
  /** The id of this node. */
  readonly localId: string;
  /** The id of the node at the other end. */
  readonly peerId: string;
  /** Ids of the nodes in between, nearest first; empty on a direct link. */
  readonly via: readonly string[];
  /** The node at the other end has proved that the id is its own. */
  readonly isVerified: boolean;
  /** What goes between the two is encrypted from end to end. Default false. */
  readonly isSecure?: boolean;
  /** How its sockets name the two nodes. */
  readonly addresses: SocketAddresses;
  /** The name in its certificate, where there is one that was signed for it. */
  readonly name: string | undefined;
}

/** What `socket.peer` tells. */
export interface PeerInfo {
  /** The node at the other end. */
  id: string;
  /** The service that was dialled; empty when it was a bare port. */
  service: string;
  /** The nodes in between, nearest first. */
  via: string[];
  /** The common name of its certificate; not there unless the link to it is one of an own PKI. */
  name?: string;
}

export function peerInfo(far: FarEnd, service: string): PeerInfo {
  const { peerId, via, name } = far;
  const peer: PeerInfo = { id: peerId, service, via: [...via] };
  if (name !== undefined) peer.name = name;
  return peer;
}
