// The handshake of a secure circuit, with both ends side by side: DialHandshake at the dialler, AcceptHandshake at the server. The
// dialler's proof goes out with OPEN, the server's proof with the reply. Each end signs everything about the circuit that a relay
// must not change, and its keys. What a relay has to change (hop limit, time, visited nodes) is left out.
//
//   dial    D = SHA-256('starlane circuit 1' | 8 src | u32 port | 8 dst | u32 port | 16 circuit id | u8 n + env digest
//               | u8 n + service | public key | ephemeral key);       signed: 'starlane dial 1' | D
//   accept  A = SHA-256(D | signature of D | public key | ephemeral key | u32 port); signed: 'starlane accept 1' | A
//
// The keys of the two directions follow from the X25519 secret, the network key and A (RFC 5869, HKDF with SHA-256).

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
import type { Identity } from '../../identity/identity.js';
import { verifySignature } from '../../identity/signatures.js';
import type { MuxStream } from '../../mux/stream/stream.js';
import { type CircuitProof, encodeProof, KEY_HINT_BYTES, readProof } from '../../wire/circuit-proof.js';
import { writeUint32 } from '../../wire/fields.js';
import type { Open } from '../../wire/open.js';
import type { ReadReply } from '../../wire/open-reply.js';
import { DIRECTION_BYTES, type RecordKey, recordKey } from './secure-records.js';
import { SecureStream } from './stream.js';

// --- the key of the network ---
//
// While one secret replaces another, members have several, and two of them may share any: the dialler lists its keys in OPEN, and
// the other end answers which of them it has chosen.

const HINT_LABEL = 'starlane key hint 1';
const NOTHING = Buffer.alloc(0);

/** The network key of a circuit, and the bytes that name it to the dialler. */
interface ChosenKey {
  readonly networkKey: Uint8Array | undefined;
  readonly answer: Uint8Array;
}

/** By key, whose hint never changes. */
const hints = new WeakMap<Uint8Array, Buffer>();

function hintOf(key: Uint8Array): Buffer {
  let hint = hints.get(key);
  if (hint === undefined) {
    hint = createHmac('sha256', key).update(HINT_LABEL).digest().subarray(0, KEY_HINT_BYTES);
    hints.set(key, hint);
  }
  return hint;
}

/** Returns the bytes by which the dialler lists its keys. */
export function offeredKeys(keys: readonly Uint8Array[]): Uint8Array {
  return keys.length === 0 ? NOTHING : Buffer.concat([Buffer.from([keys.length]), ...keys.map(hintOf)]);
}

/** Chooses the key at the server's end. @throws ERR_STARLANE_SECURE when the two ends share none */
function chooseKey(offered: Uint8Array, keys: readonly Uint8Array[]): ChosenKey {
  // The dialler has no secret, or is of a version with a single one.
  if (offered.length === 0) return { networkKey: keys[0], answer: NOTHING };
  for (const networkKey of keys) {
    const hint = hintOf(networkKey);
    for (let index = 0; index < offered[0]; index++) {
      const at = 1 + index * KEY_HINT_BYTES;
      if (hint.equals(offered.subarray(at, at + KEY_HINT_BYTES))) return { networkKey, answer: Buffer.from([index]) };
    }
  }
  throw starlaneError('ERR_STARLANE_SECURE', 'the two nodes have no secret in common');
}

/** Returns the key that the server has chosen. @throws ERR_STARLANE_SECURE when the dialler has no such key */
function chosenKey(answer: Uint8Array, keys: readonly Uint8Array[]): Uint8Array | undefined {
  if (answer.length === 0) return keys[0];
  const [index] = answer;
  if (index >= keys.length)
    throw starlaneError('ERR_STARLANE_SECURE', `the reply names key ${index} of ${keys.length}`);
  return keys[index];
}

// --- the key of each end ---

/** A key pair of X25519 (RFC 7748) for one circuit. It goes with the circuit, so that what was sent can never be read later. */
export class EphemeralKey {
  readonly publicKey: Buffer;
  private readonly privateKey: KeyObject;

  constructor() {
    const { publicKey, privateKey } = generateKeyPairSync('x25519');
    this.publicKey = Buffer.from(publicKey.export({ format: 'jwk' }).x as string, 'base64url');
    this.privateKey = privateKey;
  }

  /** Returns the secret that the two ends share. @throws ERR_STARLANE_SECURE for a key with which all secrets are the same */
  agree(publicKey: Uint8Array): Buffer {
    let shared: Buffer;
    try {
      shared = diffieHellman({ privateKey: this.privateKey, publicKey: importKey(publicKey) });
    } catch (error) {
      throw starlaneError('ERR_STARLANE_SECURE', 'the peer sent an invalid X25519 key', error);
    }
    // Where the library does not refuse it itself (RFC 7748, section 6.1).
    if (shared.every((byte) => byte === 0))
      throw starlaneError('ERR_STARLANE_SECURE', 'the peer sent an invalid X25519 key');
    return shared;
  }
}

function importKey(raw: Uint8Array): KeyObject {
  const x = Buffer.from(raw).toString('base64url');
  return createPublicKey({ key: { kty: 'OKP', crv: 'X25519', x }, format: 'jwk' });
}

// --- what each end signs ---

const CIRCUIT_LABEL = Buffer.from('starlane circuit 1');
const DIAL_LABEL = Buffer.from('starlane dial 1');
const ACCEPT_LABEL = Buffer.from('starlane accept 1');

/** The fields of OPEN that both ends have to see alike. */
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

/** @param port the port that answers */
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

/** Returns what the dialler signs. */
export function dialStatement(dial: Buffer): Buffer {
  return Buffer.concat([DIAL_LABEL, dial]);
}

/** Returns what the server's end signs. */
function acceptStatement(accept: Buffer): Buffer {
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

// --- the keys of records ---

const KEYS_LABEL = Buffer.from('starlane circuit keys 1');

/** The salt where the network has no secret. */
const NO_NETWORK_KEY = Buffer.alloc(32);

export interface CircuitKeys {
  readonly fromDialler: RecordKey;
  readonly fromServer: RecordKey;
}

/** @param accept the transcript of the server's end, which covers everything before it */
export function circuitKeys(shared: Uint8Array, networkKey: Uint8Array | undefined, accept: Uint8Array): CircuitKeys {
  const info = Buffer.concat([KEYS_LABEL, accept]);
  const bytes = Buffer.from(hkdfSync('sha256', shared, networkKey ?? NO_NETWORK_KEY, info, 2 * DIRECTION_BYTES));
  return {
    fromDialler: recordKey(bytes.subarray(0, DIRECTION_BYTES)),
    fromServer: recordKey(bytes.subarray(DIRECTION_BYTES)),
  };
}

// --- the two ends ---

/** Throws ERR_STARLANE_SECURE when the key is not that of the node. */
type KeyCheck = (nodeId: NodeId, publicKey: Uint8Array) => void;

/** The dialler's end, from OPEN to the reply. */
export class DialHandshake {
  /** The proof that OPEN carries. */
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

  /** Checks the reply that accepts the circuit. Returns why it is not that of the destination; undefined when it is. */
  verify(reply: ReadReply): Error | undefined {
    try {
      this.keys = this.keysOf(reply);
      return undefined;
    } catch (error) {
      return error as Error;
    }
  }

  /** Returns the stream to use in place of that of the session, after {@link verify} has returned undefined. Confirms the circuit. */
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

/** The answer to a secure circuit: the proof that the reply carries, and the keys of what follows. */
export interface SecureAnswer {
  readonly proof: Buffer;
  readonly keys: CircuitKeys;
}

/**
 * The server's end: checks that the node that OPEN names has signed it. The node need not be there now, since anybody can repeat
 * what was signed once: only its confirmation shows that.
 */
export class AcceptHandshake {
  private readonly transcript: Buffer;
  private readonly ephemeral: Buffer;
  private readonly chosen: ChosenKey;
  private readonly signature: Buffer;

  /** @throws ERR_STARLANE_SECURE when the proof does not hold */
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

  /** @param port the port that answers. @throws ERR_STARLANE_SECURE when no secret can be shared with the dialler */
  accept(port: number): SecureAnswer {
    const { publicKey, sign } = this.identity;
    const own = new EphemeralKey();
    const keys = { publicKey, ephemeral: own.publicKey };
    const accept = acceptTranscript(this.transcript, this.signature, keys, port);
    return {
      proof: encodeProof({ ...keys, signature: sign(acceptStatement(accept)), keys: this.chosen.answer }),
      keys: circuitKeys(own.agree(this.ephemeral), this.chosen.networkKey, accept),
    };
  }
}
