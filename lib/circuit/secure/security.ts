// What a node needs to encrypt circuits from end to end: its own key, that of the network, and what it knows of others'.

import { type NodeId, nodeIdFromPublicKey } from '../../address.js';
import { starlaneError } from '../../errors.js';
import type { Identity } from '../../identity/identity.js';
import type { Open } from '../../wire/open.js';
import { AcceptHandshake, type CircuitTerms, DialHandshake } from './handshake.js';

export interface CircuitSecuritySetup {
  readonly identity: Pick<Identity, 'publicKey' | 'sign'>;
  /** Of 32 bytes, which only members have, one for each secret. */
  readonly networkKeys: readonly Uint8Array[];
  /** The key that the record of a node names, if there is one. */
  publicKeyOf(nodeId: NodeId): Uint8Array | undefined;
  /** Somebody else's proof or record did not hold. `subject`: the same for warnings that say the same. */
  warn(subject: string, error: Error): void;
}

/** Counts since the start. */
export interface SecurityCounters {
  /** Circuits that came in and did not prove who opened them. */
  insecure: number;
}

export class CircuitSecurity {
  readonly counters: SecurityCounters = { insecure: 0 };

  constructor(private readonly setup: CircuitSecuritySetup) {}

  /** Whether circuits through relays are encrypted unless something else is said. */
  get isDefault(): boolean {
    return this.setup.networkKeys.length > 0;
  }

  /** A circuit that this node opens. */
  dial(terms: CircuitTerms): DialHandshake {
    const { identity, networkKeys } = this.setup;
    return new DialHandshake(terms, identity, networkKeys, (nodeId, key) => this.check(nodeId, key));
  }

  /** What an OPEN with a proof claims. Nothing of it is kept. @throws ERR_STARLANE_SECURE when it does not hold */
  verifyOpen(open: Open): AcceptHandshake {
    const { identity, networkKeys } = this.setup;
    return new AcceptHandshake(open, identity, networkKeys, (nodeId, key) => this.check(nodeId, key));
  }

  /** A circuit that came in was not secure: altered on its way, replayed, or opened by somebody else. */
  refused(src: NodeId, via: readonly NodeId[], error: Error): void {
    this.counters.insecure++;
    const way = via.length === 0 ? '' : ` by way of ${via.join(', ')}`;
    const about = starlaneError('ERR_STARLANE_SECURE', `a circuit of ${src}${way} was refused`, error);
    this.setup.warn(`${src} ${via.join(' ')}`, about);
  }

  /** @throws ERR_STARLANE_SECURE when it is not the key of that node */
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
