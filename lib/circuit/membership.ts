// Circuits in a network with members: who may have them, and the end of those whose member is revoked or has expired. There is none of
// this in other networks.
//
// Circuits over a direct link end with the link. Those through relays are listed here by the nodes at their ends: at the dialler and at
// the server by the other node, at relays by both. A node may have a hundred thousand, so they end over many turns.

import type { NodeId } from '../address.js';
import { type StarlaneError, starlaneError } from '../errors.js';
import type { MemberBook, MemberChange } from '../identity/member-book.js';
import { ResetReason } from '../mux/stream/resets.js';
import { type Certified, NOT_CERTIFIED } from '../socket/endpoints.js';
import { guard } from '../util/runtime/throw-later.js';
import type { Clock } from '../util/timers.js';

/** A circuit, or what it is on its way to be. */
export interface MemberCircuit {
  /** Ends it at once with `error`; `reason` is for the nodes on the way. Does nothing if it has ended. */
  destroy(error: Error, reason: number): void;
}

/** A node that is no member any more, and what its circuits end with. */
export interface FormerMember {
  readonly nodeId: NodeId;
  readonly error: StarlaneError;
  /** A ResetReason. */
  readonly reason: number;
}

/** Circuits that end in one turn of the event loop. */
const CIRCUITS_PER_TURN = 1000;

export class Membership {
  private readonly circuits = new Map<NodeId, Set<MemberCircuit>>();
  /** Nodes whose circuits are about to end. */
  private readonly ending = new Map<NodeId, FormerMember>();
  private isTurnDue = false;

  /** @param onFormer called before the circuits of a node end, with those that are not listed here left to the callee */
  constructor(
    private readonly book: MemberBook,
    private readonly nodeId: NodeId,
    private readonly clock: Clock,
    onFormer: (former: FormerMember) => void,
  ) {
    book.onChange((change) => {
      const former = formerOf(change);
      // The secret may make it a member all the same.
      if (former === undefined || this.faultOf(former.nodeId) === undefined) return;
      onFormer(former);
      this.end(former);
    });
  }

  /** Returns why a node may have no circuits; undefined for a member, and for this node itself. */
  faultOf(nodeId: NodeId): StarlaneError | undefined {
    return nodeId === this.nodeId ? undefined : this.book.faultOf(nodeId);
  }

  /** Returns why a node was a member and is none now. Unlike {@link faultOf}, that its certificate is not known says nothing. */
  endOf(nodeId: NodeId): StarlaneError | undefined {
    const fault = this.faultOf(nodeId);
    return fault?.code === 'ERR_STARLANE_CERTIFICATE' ? undefined : fault;
  }

  /** Whether circuits of others may pass through a node. */
  mayRelay(nodeId: NodeId): boolean {
    return this.book.mayRelay(nodeId);
  }

  /** Returns the key that is certified for a node. */
  publicKeyOf(nodeId: NodeId): Uint8Array | undefined {
    return this.book.member(nodeId)?.publicKey;
  }

  /** Returns the name and the tags of a node. */
  certified(nodeId: NodeId): Certified {
    return this.book.member(nodeId) ?? NOT_CERTIFIED;
  }

  /** Returns a function that does the same later. Once the node is no member any more, it returns what was certified last. */
  certifiedLater(nodeId: NodeId): () => Certified {
    let last = NOT_CERTIFIED;
    return () => {
      const { name, tags } = this.book.member(nodeId) ?? last;
      last = { name, tags };
      return last;
    };
  }

  // --- circuits through relays ---

  /** Lists a circuit that ends with the membership of the node. */
  add(nodeId: NodeId, circuit: MemberCircuit): void {
    const circuits = this.circuits.get(nodeId);
    if (circuits === undefined) this.circuits.set(nodeId, new Set([circuit]));
    else circuits.add(circuit);
  }

  /** Called when the circuit has ended. */
  delete(nodeId: NodeId, circuit: MemberCircuit): void {
    const circuits = this.circuits.get(nodeId);
    if (circuits?.delete(circuit) && circuits.size === 0) this.circuits.delete(nodeId);
  }

  /** How many nodes have circuits that are listed. */
  get size(): number {
    return this.circuits.size;
  }

  private end(former: FormerMember): void {
    this.ending.set(former.nodeId, former);
    if (!this.isTurnDue) this.endSome();
  }

  private endSome(): void {
    let left = CIRCUITS_PER_TURN;
    for (const [nodeId, { error, reason }] of this.ending) {
      for (const circuit of this.circuits.get(nodeId) ?? []) {
        if (left-- === 0) {
          this.isTurnDue = true;
          this.clock.setImmediate(() => this.endSome());
          return;
        }
        this.delete(nodeId, circuit);
        guard(() => circuit.destroy(error, reason));
      }
      this.ending.delete(nodeId);
    }
    this.isTurnDue = false;
  }
}

function formerOf(change: MemberChange): FormerMember | undefined {
  if (change.type === 'revoked') {
    const { nodeId } = change;
    return { nodeId, error: starlaneError('ERR_STARLANE_REVOKED', nodeId), reason: ResetReason.REVOKED };
  }
  if (change.type === 'expired') {
    const { nodeId } = change;
    return { nodeId, error: starlaneError('ERR_STARLANE_CERTIFICATE_EXPIRED', nodeId), reason: ResetReason.EXPIRED };
  }
  return undefined;
}
