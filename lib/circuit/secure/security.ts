// The handshakes of circuits for one node: its own key, those of the network, what it knows of other nodes, and what it has seen of
// their circuits.

import { type NodeId, nodeIdFromPublicKey } from '../../address.js';
import { starlaneError } from '../../errors.js';
import type { Identity } from '../../identity/identity.js';
import { dateNow } from '../../util/runtime/real-timers.js';
import { CircuitAbility } from '../../wire/circuit-proof.js';
import type { Open } from '../../wire/open.js';
import { ReplyCode } from '../../wire/open-reply.js';
import {
  AcceptHandshake,
  DialHandshake,
  type HandshakeContext,
  type KnownDestination,
  signedProof,
  verifySource,
} from './handshake.js';
import { type Kem, mlKem768 } from './key-agreement.js';
import { MAX_SKEW_S, ReplayCache } from './replays.js';
import type { CircuitTerms } from './transcript.js';

/** Counts since the start. */
interface SecurityCounters {
  /** Incoming circuits whose dialler did not prove its identity. */
  insecure: number;
  /** Incoming circuits whose OPEN had come before. */
  repeated: number;
}

interface SecuritySetup {
  readonly identity: Pick<Identity, 'publicKey' | 'sign'>;
  /** 32 bytes that only members have, for each secret of the network. */
  readonly networkKeys: readonly Uint8Array[];
  /**
   * Whether certificates show who is a member, which is checked elsewhere: then nodes without a secret in common may have circuits.
   * Default false.
   */
  readonly hasMembers?: boolean | undefined;
  /** Whether circuits through relays are refused unless their source has signed them. Default false. */
  readonly requiresProof?: boolean | undefined;
  /** Default ML-KEM-768, where Node has it; null: none. */
  readonly kem?: Kem | null | undefined;
  /** The time in ms since 1970. Default that of the system. */
  now?(): number;
  /** The key that the record of a node names, or that its link has proved, if there is one. */
  publicKeyOf(nodeId: NodeId): Uint8Array | undefined;
  /** What the node has signed that it can do, see CircuitAbility. Default nothing. */
  abilitiesOf?(nodeId: NodeId): number;
  /** Called when the proof of another node does not hold. Warnings about the same thing have the same `subject`. */
  warn(subject: string, error: Error): void;
}

/** Why a circuit is not accepted. */
export interface Rejection {
  readonly code: number;
  readonly reason: string;
}

/** Returns what nodes of this process can do, see CircuitAbility. */
export function circuitAbilities(): number {
  return CircuitAbility.HANDSHAKE_2 | CircuitAbility.TRACE | (mlKem768() === undefined ? 0 : CircuitAbility.HYBRID);
}

export class CircuitSecurity {
  readonly counters: SecurityCounters = { insecure: 0, repeated: 0 };
  /** Circuits of handshake 2; and those of handshake 1 that were confirmed, which say nothing about their age. */
  private readonly signed = new ReplayCache();
  private readonly confirmed = new ReplayCache();

  constructor(private readonly setup: SecuritySetup) {}

  /** Whether circuits through relays are encrypted unless a dial says otherwise. */
  get isDefault(): boolean {
    return this.setup.networkKeys.length > 0 || this.setup.hasMembers === true;
  }

  /** Whether circuits through relays are refused unless their source has signed them. */
  get requiresProof(): boolean {
    return this.setup.requiresProof === true;
  }

  /** Whether a node reads the trace context of circuits to it. */
  readsTraces(nodeId: NodeId): boolean {
    return ((this.setup.abilitiesOf?.(nodeId) ?? 0) & CircuitAbility.TRACE) !== 0;
  }

  /** Begins the handshake of an encrypted circuit that this node opens. */
  dial(terms: CircuitTerms): DialHandshake {
    return new DialHandshake(terms, this.context(), this.known(terms.dst));
  }

  /** Returns the proof of a circuit through relays that is not encrypted; undefined where it would be of no use. */
  sign(terms: CircuitTerms): Buffer | undefined {
    if (!this.isDefault && !this.requiresProof) return undefined;
    const dst = this.known(terms.dst);
    return dst === undefined ? undefined : signedProof(terms, this.setup.identity, dst);
  }

  /** Checks an OPEN with a proof, of which nothing is kept. @throws ERR_STARLANE_SECURE when the proof does not hold */
  verifyOpen(open: Open): AcceptHandshake {
    return new AcceptHandshake(open, this.context());
  }

  /**
   * Checks that an OPEN on its way to another node was signed by the node that it names as its source.
   * @throws ERR_STARLANE_SECURE when its proof is missing, does not hold, or cannot be checked as the key of the destination is not known
   */
  verifySource(open: Open): void {
    verifySource(open, this.setup.publicKeyOf(open.dst), (nodeId, key) => this.check(nodeId, key));
  }

  /** Returns why a circuit whose proof holds is too old, or is here for the second time; undefined when it is neither. */
  admit(handshake: AcceptHandshake): Rejection | undefined {
    const { sourceKey, circuitId, signedAtS } = handshake;
    if (signedAtS === undefined) return this.confirmed.has(sourceKey, circuitId) ? this.repeated() : undefined;
    const nowS = this.nowS();
    const ageS = nowS - signedAtS;
    if (Math.abs(ageS) > MAX_SKEW_S) {
      const way = ageS > 0 ? 'behind' : 'ahead of';
      const reason = `the clock of the dialler is ${Math.abs(ageS)} s ${way} that of this node (at most ${MAX_SKEW_S} s)`;
      return { code: ReplyCode.CLOCK, reason };
    }
    if (this.signed.has(sourceKey, circuitId)) return this.repeated();
    if (this.signed.mayHaveForgotten(sourceKey, signedAtS)) {
      return {
        code: ReplyCode.REPEATED,
        reason: 'the dialler opens too many circuits to tell whether this one is new',
      };
    }
    this.signed.add(sourceKey, circuitId, signedAtS, nowS);
    return undefined;
  }

  /** Called when the dialler has confirmed the circuit. */
  onConfirmed({ sourceKey, circuitId, signedAtS }: AcceptHandshake): void {
    if (signedAtS === undefined) this.confirmed.add(sourceKey, circuitId, this.nowS(), this.nowS());
  }

  /** Called when an incoming circuit was not secure: altered on its way, replayed, or opened by another node. */
  refused(src: NodeId, via: readonly NodeId[], error: Error): void {
    this.counters.insecure++;
    this.warn(src, via, error);
  }

  /** Called when a circuit was refused for its time. */
  refusedForClock(src: NodeId, via: readonly NodeId[], reason: string): void {
    this.warn(src, via, starlaneError('ERR_STARLANE_SECURE', reason));
  }

  private warn(src: NodeId, via: readonly NodeId[], error: Error): void {
    const way = via.length === 0 ? '' : ` by way of ${via.join(', ')}`;
    const about = starlaneError('ERR_STARLANE_SECURE', `a circuit of ${src}${way} was refused`, error);
    this.setup.warn(`${src} ${via.join(' ')}`, about);
  }

  private repeated(): Rejection {
    this.counters.repeated++;
    return { code: ReplyCode.REPEATED, reason: 'the circuit was opened before' };
  }

  private context(): HandshakeContext {
    const { identity, networkKeys, hasMembers: mayLackSecret = false } = this.setup;
    const kem = this.kem;
    return { identity, networkKeys, mayLackSecret, kem, checkKey: (nodeId, key) => this.check(nodeId, key) };
  }

  private get kem(): Kem | undefined {
    const { kem } = this.setup;
    return kem === undefined ? mlKem768() : (kem ?? undefined);
  }

  /** Returns what is known of a node that can do handshake 2. */
  private known(nodeId: NodeId): KnownDestination | undefined {
    const abilities = this.setup.abilitiesOf?.(nodeId) ?? 0;
    if ((abilities & CircuitAbility.HANDSHAKE_2) === 0) return undefined;
    const publicKey = this.setup.publicKeyOf(nodeId);
    if (publicKey === undefined) return undefined;
    return { publicKey, isHybrid: (abilities & CircuitAbility.HYBRID) !== 0, nowS: this.nowS() };
  }

  private nowS(): number {
    return Math.floor((this.setup.now?.() ?? dateNow()) / 1000);
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
