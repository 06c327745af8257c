// What the control plane is given instead of the world: who it is, time, chance and cryptography, so that a simulation can
// run a thousand of them in virtual time.

import type { NodeId } from '../../address.js';
import type { Timers } from '../../util/timers.js';
import type { MeshRecord } from '../../wire/records.js';

export interface MeshIdentity {
  readonly nodeId: NodeId;
  /** Raw Ed25519, 32 bytes. */
  readonly publicKey: Uint8Array;
  /** A UUID of this run of the node. */
  readonly bootId: string;
  /** Ed25519, 64 bytes. */
  sign(bytes: Uint8Array): Uint8Array;
}

export interface MeshEnvironment {
  readonly identity: MeshIdentity;
  readonly timers: Timers;
  /** From 0 up to 1. */
  random(): number;
  /** Whether the signature of a record is that of its key. */
  verify(record: MeshRecord): boolean;
  /** Whether that is known without a check, which takes time. None: it never is. */
  isVerified?(record: MeshRecord): boolean;
}
