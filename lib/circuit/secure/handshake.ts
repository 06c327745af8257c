// What the two ends of a secure circuit sign: everything about the circuit that a relay must not change, and their keys. What
// a relay has to change (hop limit, time, visited nodes) is left out. Pure.
//
//   dial    D = SHA-256('starlane circuit 1' | 8 src | u32 port | 8 dst | u32 port | 16 circuit id | u8 n + env digest
//               | u8 n + service | public key | ephemeral key);       signed: 'starlane dial 1' | D
//   accept  A = SHA-256(D | signature of D | public key | ephemeral key | u32 port); signed: 'starlane accept 1' | A

import {
  createHash,
  createHmac,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
} from 'node:crypto';
import { type NodeId, nodeIdToBytes } from '../../address.js';
import { starlaneError } from '../../errors.js';
import { type Identity, verifySignature } from '../../identity/identity.js';
import type { MuxStream } from '../../mux/stream/stream.js';
import { type CircuitProof, encodeProof, KEY_HINT_BYTES, readProof } from '../../wire/circuit-proof.js';
import { writeUint32 } from '../../wire/fields.js';
import type { Open } from '../../wire/open.js';
import type { ReadReply } from '../../wire/open-reply.js';
import { DIRECTION_BYTES, type RecordKey, recordKey } from './secure-records.js';
import { SecureStream } from './stream.js';

const LABEL = 'starlane key hint 1';
const NOTHING = Buffer.alloc(0);

/** What a circuit takes, and what the other end has to be told of it. */
export interface ChosenKey {
  readonly networkKey: Uint8Array | undefined;
  readonly told: Uint8Array;
}

/** By key, as it never changes. */
const hints = new WeakMap<Uint8Array, Buffer>();

function hintOf(key: Uint8Array): Buffer {
  let hint = hints.get(key);
  if (hint === undefined) {
    hint = createHmac('sha256', key).update(LABEL).digest().subarray(0, KEY_HINT_BYTES);
    hints.set(key, hint);
  }
  return hint;
}

/** What the dialler says of its keys. */
export function offeredKeys(keys: readonly Uint8Array[]): Uint8Array {
  return keys.length === 0 ? NOTHING : Buffer.concat([Buffer.from([keys.length]), ...keys.map(hintOf)]);
}

/** The key that the accepting end takes. @throws ERR_STARLANE_SECURE when it has none that the dialler has */
export function chooseKey(offered: Uint8Array, keys: readonly Uint8Array[]): ChosenKey {
  // Without a secret, or of a version that knew of one secret only.
  if (offered.length === 0) return { networkKey: keys[0], told: NOTHING };
  for (const networkKey of keys) {
    const hint = hintOf(networkKey);
    for (let index = 0; index < offered[0]; index++) {
      const at = 1 + index * KEY_HINT_BYTES;
      if (hint.equals(offered.subarray(at, at + KEY_HINT_BYTES))) return { networkKey, told: Buffer.from([index]) };
    }
  }
  throw starlaneError('ERR_STARLANE_SECURE', 'the two nodes have no secret in common');
}

/** The key that the other end says it has taken. @throws ERR_STARLANE_SECURE when there is none */
export function chosenKey(told: Uint8Array, keys: readonly Uint8Array[]): Uint8Array | undefined {
  if (told.length === 0) return keys[0];
  const [index] = told;
  if (index >= keys.length)
    throw starlaneError('ERR_STARLANE_SECURE', `the reply names key ${index} of ${keys.length}`);
  return keys[index];
}

/** A key pair of X25519 (RFC 7748). Gone with the circuit, so that what was sent can never be read later. */
export class EphemeralKey {
  readonly publicKey: Buffer;
  private readonly privateKey: KeyObject;

  constructor() {
    const { publicKey, privateKey } = generateKeyPairSync('x25519');
    this.publicKey = Buffer.from(publicKey.export({ format: 'jwk' }).x as string, 'base64url');
    this.privateKey = privateKey;
  }

  /** The secret that the two share. @throws ERR_STARLANE_SECURE for a key with which all secrets are the same */
  agree(publicKey: Uint8Array): Buffer {
    let shared: Buffer;
    try {
      shared = diffieHellman({ privateKey: this.privateKey, publicKey: importKey(publicKey) });
    } catch (error) {
      throw starlaneError('ERR_STARLANE_SECURE', 'the key of the other end is none', error);
    }
    // Where the library does not refuse it itself (RFC 7748, section 6.1).
    if (shared.every((byte) => byte === 0))
      throw starlaneError('ERR_STARLANE_SECURE', 'the key of the other end is none');
    return shared;
  }
}

function importKey(raw: Uint8Array): KeyObject {
  const x = Buffer.from(raw).toString('base64url');
  return createPublicKey({ key: { kty: 'OKP', crv: 'X25519', x }, format: 'jwk' });
}

const CIRCUIT_LABEL = Buffer.from('starlane circuit 1');
const DIAL_LABEL = Buffer.from('starlane dial 1');
const ACCEPT_LABEL = Buffer.from('starlane accept 1');

/** What OPEN says of a circuit that both ends have to see alike. */
export interface CircuitTerms {
  readonly src: NodeId;
  readonly srcPort: number;
  readonly dst: NodeId;
  readonly dstPort: number;
  readonly circuitId: Uint8Array;
  /** A digest in hex. */
  readonly env?: string | undefined;
  readonly service: string;
}

/** The keys that an end names in its proof. */
type Keys = Pick<CircuitProof, 'publicKey' | 'ephemeral'>;

export function dialTranscript(terms: CircuitTerms, { publicKey, ephemeral }: Keys): Buffer {
  const { src, srcPort, dst, dstPort, circuitId, env = '', service } = terms;
  return createHash('sha256')
    .update(CIRCUIT_LABEL)
    .update(nodeIdToBytes(src))
    .update(uint32(srcPort))
    .update(nodeIdToBytes(dst))
    .update(uint32(dstPort))
    .update(circuitId)
    .update(prefixed(Buffer.from(env, 'hex')))
    .update(prefixed(Buffer.from(service)))
    .update(publicKey)
    .update(ephemeral)
    .digest();
}

/** @param port the one that answers */
export function acceptTranscript(dial: Buffer, dialSignature: Uint8Array, keys: Keys, port: number): Buffer {
  const { publicKey, ephemeral } = keys;
  return createHash('sha256')
    .update(dial)
    .update(dialSignature)
    .update(publicKey)
    .update(ephemeral)
    .update(uint32(port))
    .digest();
}

/** What the dialler signs. */
export function dialStatement(dial: Buffer): Buffer {
  return Buffer.concat([DIAL_LABEL, dial]);
}

/** What the other end signs. */
export function acceptStatement(accept: Buffer): Buffer {
  return Buffer.concat([ACCEPT_LABEL, accept]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  writeUint32(bytes, 0, value);
  return bytes;
}

function prefixed(bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from([bytes.length]), bytes]);
}

const KEYS_LABEL = Buffer.from('starlane circuit keys 1');

/** Salt where the network has no secret. */
const NO_NETWORK_KEY = Buffer.alloc(32);

export interface CircuitKeys {
  readonly fromDialler: RecordKey;
  readonly fromServer: RecordKey;
}

/** @param accept the transcript of the accepting end, which covers everything before it */
export function circuitKeys(shared: Uint8Array, networkKey: Uint8Array | undefined, accept: Uint8Array): CircuitKeys {
  const info = Buffer.concat([KEYS_LABEL, accept]);
  const bytes = Buffer.from(hkdfSync('sha256', shared, networkKey ?? NO_NETWORK_KEY, info, 2 * DIRECTION_BYTES));
  return {
    fromDialler: recordKey(bytes.subarray(0, DIRECTION_BYTES)),
    fromServer: recordKey(bytes.subarray(DIRECTION_BYTES)),
  };
}

/** Throws ERR_STARLANE_SECURE when it is not the key of that node. */
export type KeyCheck = (nodeId: NodeId, publicKey: Uint8Array) => void;

export class DialHandshake {
  /** What the OPEN is to say. */
  readonly proof: Buffer;
  private readonly ephemeral = new EphemeralKey();
  private readonly transcript: Buffer;
  private keys: CircuitKeys | null = null;

  constructor(
    private readonly terms: CircuitTerms,
    { publicKey, sign }: Pick<Identity, 'publicKey' | 'sign'>,
    private readonly networkKeys: readonly Uint8Array[],
    private readonly checkKey: KeyCheck,
  ) {
    const keys = { publicKey, ephemeral: this.ephemeral.publicKey };
    this.transcript = dialTranscript(terms, keys);
    this.proof = encodeProof({
      ...keys,
      signature: sign(dialStatement(this.transcript)),
      keys: offeredKeys(networkKeys),
    });
  }

  /** Why an acceptance is not that of the destination; undefined when it is. */
  verify(reply: ReadReply): Error | undefined {
    try {
      this.keys = this.keysOf(reply);
      return undefined;
    } catch (error) {
      return error as Error;
    }
  }

  /** Stands in for a stream whose acceptance had no {@link objection}, and confirms it. */
  carry(stream: MuxStream): SecureStream {
    const { keys } = this;
    if (keys === null) throw starlaneError('ERR_STARLANE_SECURE', 'the reply was not checked');
    this.keys = null;
    return SecureStream.dialled(stream, keys);
  }

  private keysOf({ proof, port }: ReadReply): CircuitKeys {
    const { dst } = this.terms;
    if (proof === undefined) throw starlaneError('ERR_STARLANE_SECURE', `the reply has no proof of ${dst}`);
    const { publicKey, ephemeral, signature, keys } = readProof(proof);
    this.checkKey(dst, publicKey);
    const dialSignature = readProof(this.proof).signature;
    const accept = acceptTranscript(this.transcript, dialSignature, { publicKey, ephemeral }, port);
    if (!verifySignature(publicKey, acceptStatement(accept), signature)) {
      throw starlaneError('ERR_STARLANE_SECURE', `the reply is not what ${dst} has signed`);
    }
    return circuitKeys(this.ephemeral.agree(ephemeral), chosenKey(keys, this.networkKeys), accept);
  }
}

/** The answer to a secure circuit: what the reply is to say, and the keys of what follows. */
export interface SecureAnswer {
  readonly proof: Buffer;
  readonly keys: CircuitKeys;
}

/**
 * The node that an OPEN names has signed it. It need not be there now, since anybody may repeat what was signed once: that
 * shows when it confirms.
 */
export class AcceptHandshake {
  private readonly transcript: Buffer;
  private readonly ephemeral: Buffer;
  private readonly chosen: ChosenKey;
  private readonly signature: Buffer;

  /** @throws ERR_STARLANE_SECURE when it has not */
  constructor(
    open: Open,
    private readonly identity: Pick<Identity, 'publicKey' | 'sign'>,
    networkKeys: readonly Uint8Array[],
    checkKey: KeyCheck,
  ) {
    const { proof, src } = open;
    if (proof === undefined) throw starlaneError('ERR_STARLANE_SECURE', `the OPEN has no proof of ${src}`);
    const { publicKey, ephemeral, signature, keys } = readProof(proof);
    checkKey(src, publicKey);
    this.transcript = dialTranscript(open, { publicKey, ephemeral });
    if (!verifySignature(publicKey, dialStatement(this.transcript), signature)) {
      throw starlaneError('ERR_STARLANE_SECURE', `the OPEN is not what ${src} has signed`);
    }
    this.chosen = chooseKey(keys, networkKeys);
    // The bytes of the OPEN are used again, maybe before the circuit is accepted.
    this.ephemeral = Buffer.from(ephemeral);
    this.signature = Buffer.from(signature);
  }

  /** @param port the one that answers. @throws ERR_STARLANE_SECURE when no secret can be shared with the dialler */
  accept(port: number): SecureAnswer {
    const { publicKey, sign } = this.identity;
    const own = new EphemeralKey();
    const keys = { publicKey, ephemeral: own.publicKey };
    const accept = acceptTranscript(this.transcript, this.signature, keys, port);
    return {
      proof: encodeProof({ ...keys, signature: sign(acceptStatement(accept)), keys: this.chosen.told }),
      keys: circuitKeys(own.agree(this.ephemeral), this.chosen.networkKey, accept),
    };
  }
}
