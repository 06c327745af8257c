// Who a node is: a key pair, the id that follows from it, and an id for this run of it.

import { generateKeyPairSync } from 'node:crypto';
import { v4 as uuid } from 'uuid';
import { type NodeId, nodeIdFromPublicKey } from '../address.js';

export interface Identity {
  readonly nodeId: NodeId;
  /** Raw Ed25519, 32 bytes. */
  readonly publicKey: Uint8Array;
  /** A UUID that no other run of any node has: tells a node that has restarted from one that is still there. */
  readonly bootId: string;
}

/** A fresh identity, which lasts as long as the node. */
export function createIdentity(): Identity {
  const { publicKey } = generateKeyPairSync('ed25519');
  const raw = Buffer.from(publicKey.export({ format: 'jwk' }).x as string, 'base64url');
  return { nodeId: nodeIdFromPublicKey(raw), publicKey: raw, bootId: uuid() };
}
