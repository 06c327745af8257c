// End-to-end encryption for one node: its own key, those of the network, and the keys that it knows of other nodes.

import { type NodeId, nodeIdFromPublicKey } from '../../address.js';
import { starlaneError } from '../../errors.js';
import type { Identity } from '../../identity/identity.js';
import { verifySignature } from '../../identity/signatures.js';
import { readProof } from '../../wire/circuit-proof.js';
import type { Open } from '../../wire/open.js';
import { AcceptHandshake, type CircuitTerms, DialHandshake, dialStatement, dialTranscript } from './handshake.js';

/** Counts since the start. */
interface SecurityCounters {
  /** Incoming circuits whose dialler did not prove its identity. */
  insecure: number;
}

export class CircuitSecurity {
  readonly counters: SecurityCounters = { insecure: 0 };

  constructor(
    private readonly setup: {
      readonly identity: Pick<Identity, 'publicKey' | 'sign'>;
      /** 32 bytes that only members have, for each secret of the network. */
      readonly networkKeys: readonly Uint8Array[];
      /** Whether certificates show who is a member. Default false. */
      readonly hasMembers?: boolean | undefined;
      /** The key that the record of a node names, if there is one. */
      publicKeyOf(nodeId: NodeId): Uint8Array | undefined;
      /** Called when the proof of another node does not hold. Warnings about the same thing have the same `subject`. */
      warn(subject: string, error: Error): void;
    },
  ) {}

  /** Whether circuits through relays are encrypted unless a dial says otherwise. */
  get isDefault(): boolean {
    return this.setup.networkKeys.length > 0 || this.setup.hasMembers === true;
  }

  /** Begins the handshake of a circuit that this node opens. */
  dial(terms: CircuitTerms): DialHandshake {
    const { identity, networkKeys } = this.setup;
    return new DialHandshake(terms, identity, networkKeys, (nodeId, key) => this.check(nodeId, key));
  }

  /** Checks an OPEN with a proof, of which nothing is kept. @throws ERR_STARLANE_SECURE when the proof does not hold */
  verifyOpen(open: Open): AcceptHandshake {
    const { identity, networkKeys } = this.setup;
    return new AcceptHandshake(open, identity, networkKeys, (nodeId, key) => this.check(nodeId, key));
  }

  /**
   * Checks that an OPEN on its way to another node was signed by the node that it names as its source.
   * @throws ERR_STARLANE_SECURE when its proof is missing or does not hold
   */
  verifySource(open: Open): void {
    const { proof, src } = open;
    if (proof === undefined) throw starlaneError('ERR_STARLANE_SECURE', `the OPEN has no proof of ${src}`);
    const { publicKey, ephemeral, signature } = readProof(proof);
    this.check(src, publicKey);
    if (!verifySignature(publicKey, dialStatement(dialTranscript(open, { publicKey, ephemeral })), signature)) {
      throw starlaneError('ERR_STARLANE_SECURE', `the OPEN is not what ${src} has signed`);
    }
  }

  /** Called when an incoming circuit was not secure: altered on its way, replayed, or opened by another node. */
  refused(src: NodeId, via: readonly NodeId[], error: Error): void {
    this.counters.insecure++;
    const way = via.length === 0 ? '' : ` by way of ${via.join(', ')}`;
    const about = starlaneError('ERR_STARLANE_SECURE', `a circuit of ${src}${way} was refused`, error);
    this.setup.warn(`${src} ${via.join(' ')}`, about);
  }

  /** @throws ERR_STARLANE_SECURE when the key is not that of the node */
  private check(nodeId: NodeId, publicKey: Uint8Array): void {
    if (nodeIdFromPublicKey(publicKey) !== nodeId) {
      throw starlaneError('ERR_STARLANE_SECURE', `the key is not that of ${nodeId}`);
    }
    const known = this.setup.publicKeyOf(nodeId);
    if (known !== undefined && Buffer.compare(known, publicKey) !== 0) {
      throw starlaneError('ERR_STARLANE_SECURE', `the key is not that in the record of ${nodeId}`);
    }
  }
}
