// The remote endpoints of relayed circuits. Sockets to the same node by the same relays share one object, as those over a link do.

import type { NodeId } from '../address.js';
import type { RemoteEndpoint, SocketAddresses } from '../socket/endpoints.js';

/** How many endpoints are kept: peers can invent any number of them. Sockets keep theirs in any case. */
const MAX_KEPT = 4096;

export class RemoteEndpoints {
  private readonly kept = new Map<string, RemoteEndpoint>();
  private readonly secured = new WeakMap<RemoteEndpoint, RemoteEndpoint>();
  private readonly quantumSafe = new WeakMap<RemoteEndpoint, RemoteEndpoint>();
  private readonly sourced = new WeakMap<RemoteEndpoint, RemoteEndpoint>();

  constructor(
    private readonly localId: NodeId,
    private readonly addresses: SocketAddresses,
  ) {}

  /** @param via the relays, nearest first */
  get(peerId: NodeId, via: readonly NodeId[]): RemoteEndpoint {
    // Ids have one length, so a key has one meaning only.
    const key = peerId + via.join('');
    const known = this.kept.get(key);
    if (known !== undefined) return known;
    if (this.kept.size >= MAX_KEPT) this.kept.clear();
    const remote = Object.freeze({
      localId: this.localId,
      peerId,
      via: Object.freeze([...via]),
      isVerified: false,
      addresses: this.addresses,
      name: undefined,
    });
    this.kept.set(key, remote);
    return remote;
  }

  /**
   * Returns the endpoint of circuits that are encrypted from end to end, whose node has proved that the id is its own.
   * `isQuantumSafe`: their keys follow from ML-KEM-768 as well.
   */
  secure(remote: RemoteEndpoint, isQuantumSafe = false): RemoteEndpoint {
    const more = { isVerified: true, isSigned: true, isSecure: true };
    return isQuantumSafe
      ? variant(this.quantumSafe, remote, { ...more, isQuantumSafe })
      : variant(this.secured, remote, more);
  }

  /** Returns the endpoint of circuits that their source has signed, and that are not encrypted. */
  signed(remote: RemoteEndpoint): RemoteEndpoint {
    return variant(this.sourced, remote, { isSigned: true });
  }
}

/** Returns the one copy of `remote` that differs from it in this. */
function variant(
  known: WeakMap<RemoteEndpoint, RemoteEndpoint>,
  remote: RemoteEndpoint,
  more: Partial<RemoteEndpoint>,
): RemoteEndpoint {
  let made = known.get(remote);
  if (made === undefined) {
    made = Object.freeze({ ...remote, ...more });
    known.set(remote, made);
  }
  return made;
}
