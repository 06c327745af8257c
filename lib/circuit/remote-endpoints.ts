// The remote endpoints of relayed circuits. Sockets to the same node by the same relays share one object, as those over a link do.

import type { NodeId } from '../address.js';
import type { FarEnd } from '../socket/far-end.js';
import type { SocketAddresses } from '../socket/socket-addresses.js';

/** How many endpoints are kept: peers can invent any number of them. Sockets keep theirs in any case. */
const MAX_KEPT = 4096;

export class RemoteEndpoints {
  private readonly kept = new Map<string, FarEnd>();
  private readonly secured = new WeakMap<FarEnd, FarEnd>();

  constructor(
    private readonly localId: NodeId,
    private readonly addresses: SocketAddresses,
  ) {}

  /** @param via the relays, nearest first */
  get(peerId: NodeId, via: readonly NodeId[]): FarEnd {
    // Ids have one length, so a key has one meaning only.
    const key = peerId + via.join('');
    const known = this.kept.get(key);
    if (known !== undefined) return known;
    if (this.kept.size >= MAX_KEPT) this.kept.clear();
    const far = Object.freeze({
      localId: this.localId,
      peerId,
      via: Object.freeze([...via]),
      isVerified: false,
      addresses: this.addresses,
      name: undefined,
    });
    this.kept.set(key, far);
    return far;
  }

  /** Returns the endpoint of circuits that are encrypted from end to end, whose node has proved that the id is its own. */
  secure(far: FarEnd): FarEnd {
    let secured = this.secured.get(far);
    if (secured === undefined) {
      secured = Object.freeze({ ...far, isVerified: true, isSecure: true });
      this.secured.set(far, secured);
    }
    return secured;
  }
}
