// The handshake of a circuit, with both ends side by side: DialHandshake at the dialler, AcceptHandshake at the server. The dialler's
// proof goes out with OPEN, the server's proof with the reply. transcript.ts has what they sign, key-agreement.ts the secrets.
//
// Version 1 is for nodes that know no other. The dialler takes version 2, and offers ML-KEM-768, where the destination has signed that
// it can do so (CircuitAbility); what each end signs names the version and the offer, so that a relay cannot have them do with less.

import { createHmac } from 'node:crypto';
import type { NodeId } from '../../address.js';
import { starlaneError } from '../../errors.js';
import type { Identity } from '../../identity/identity.js';
import { verifySignature } from '../../identity/signatures.js';
import type { MuxStream } from '../../mux/stream/stream.js';
import {
  CIRCUIT_PROOF_BYTES,
  CircuitMode,
  type CircuitProof,
  encodeProof,
  encodeTerms,
  KEY_HINT_BYTES,
  ReplyChoice,
  readProof,
  readTerms,
} from '../../wire/circuit-proof.js';
import type { Open } from '../../wire/open.js';
import type { ReadReply } from '../../wire/open-reply.js';
import { EphemeralKey, type Kem } from './key-agreement.js';
import { SecureStream } from './stream.js';
import {
  acceptStatement,
  acceptTranscript,
  type CircuitKeys,
  type CircuitTerms,
  circuitKeys,
  type DialExtras,
  dialStatement,
  dialTranscript,
  type HandshakeVersion,
  type KemSecret,
  sourceStatement,
} from './transcript.js';

// --- the key of the network ---
//
// While one secret replaces another, members have several, and two of them may share any: the dialler lists its keys in OPEN, and
// the other end answers which of them it has chosen.

const HINT_LABEL = 'starlane key hint 1';
const NOTHING = Buffer.alloc(0);
const NO_HINTS = Buffer.from([0]);

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
function chooseKey(offered: Uint8Array, version: HandshakeVersion, context: HandshakeContext): ChosenKey {
  const { networkKeys: keys, mayLackSecret = false } = context;
  // The dialler has no secret, or is of a version with a single one.
  if (offered.length === 0) return { networkKey: keys[0], answer: NOTHING };
  for (const networkKey of keys) {
    const hint = hintOf(networkKey);
    for (let index = 0; index < offered[0]; index++) {
      const at = 1 + index * KEY_HINT_BYTES;
      if (hint.equals(offered.subarray(at, at + KEY_HINT_BYTES))) return { networkKey, answer: Buffer.from([index]) };
    }
  }
  const needsNone = mayLackSecret || (offered[0] === 0 && keys.length === 0);
  if (version === 2 && needsNone) return { networkKey: undefined, answer: Buffer.from([ReplyChoice.NO_HINT]) };
  throw starlaneError('ERR_STARLANE_SECURE', 'the two nodes have no secret in common');
}

/** Returns the key that the server has chosen. @throws ERR_STARLANE_SECURE when the dialler has no such key */
function chosenKey(answer: Uint8Array, version: HandshakeVersion, context: HandshakeContext): Uint8Array | undefined {
  const { networkKeys: keys, mayLackSecret = false } = context;
  if (answer.length === 0 && version === 1) return keys[0];
  const index = version === 1 ? answer[0] : answer[0] & ReplyChoice.HINT;
  if (index < keys.length) return keys[index];
  if (version === 2 && index === ReplyChoice.NO_HINT) {
    if (mayLackSecret || keys.length === 0) return undefined;
    throw starlaneError('ERR_STARLANE_SECURE', 'the two nodes have no secret in common');
  }
  throw starlaneError('ERR_STARLANE_SECURE', `the reply names key ${index} of ${keys.length}`);
}

// --- the two ends ---

/** Throws ERR_STARLANE_SECURE when the key is not that of the node. */
type KeyCheck = (nodeId: NodeId, publicKey: Uint8Array) => void;

/** What a node brings into its handshakes. */
export interface HandshakeContext {
  readonly identity: Pick<Identity, 'publicKey' | 'sign'>;
  /** 32 bytes that only members have, for each secret of the network. */
  readonly networkKeys: readonly Uint8Array[];
  /** Whether a node without a secret in common is accepted, since `checkKey` knows all members. Default false. */
  readonly mayLackSecret?: boolean;
  /** Undefined: X25519 alone. */
  readonly kem: Kem | undefined;
  readonly checkKey: KeyCheck;
}

/** What the dialler knows of the destination, when that can do handshake 2. */
export interface KnownDestination {
  readonly publicKey: Uint8Array;
  /** Whether it can do ML-KEM-768. */
  readonly isHybrid: boolean;
  /** The time of the dialler, in s since 1970. */
  readonly nowS: number;
}

/** Returns the proof of a circuit that is signed, and not encrypted. Needs handshake 2. */
export function signedProof(
  terms: CircuitTerms,
  { publicKey, sign }: HandshakeContext['identity'],
  { publicKey: dstKey, nowS }: KnownDestination,
): Buffer {
  const keys = { publicKey, ephemeral: Buffer.alloc(publicKey.length) };
  const extras = { dstKey, keys: NO_HINTS, terms: encodeTerms({ mode: 0, signedAtS: nowS }) };
  const signature = sign(sourceStatement(dialTranscript(terms, keys, extras)));
  return encodeProof({ ...keys, ...extras, signature });
}

/** The dialler's end, from OPEN to the reply. */
export class DialHandshake {
  /** The proof that OPEN carries. */
  readonly proof: Buffer;
  private readonly version: HandshakeVersion;
  private readonly isOffered: boolean;
  private readonly ephemeral = new EphemeralKey();
  private readonly transcript: Buffer;
  private readonly signature: Buffer;
  private keys: CircuitKeys | null = null;
  private kem: KemSecret | undefined;

  /** @param dst undefined where the destination may not know handshake 2 */
  constructor(
    private readonly terms: CircuitTerms,
    private readonly context: HandshakeContext,
    private readonly dst?: KnownDestination,
  ) {
    const { publicKey, sign } = context.identity;
    const own = { publicKey, ephemeral: this.ephemeral.publicKey };
    this.version = dst === undefined ? 1 : 2;
    this.isOffered = dst?.isHybrid === true && context.kem !== undefined;
    const keys = offeredKeys(context.networkKeys);
    let extras: DialExtras | undefined;
    if (dst !== undefined) {
      const mode = CircuitMode.ENCRYPTED | (this.isOffered ? CircuitMode.HYBRID : 0);
      const signed = encodeTerms({ mode, signedAtS: dst.nowS });
      extras = { dstKey: dst.publicKey, keys: keys.length === 0 ? NO_HINTS : keys, terms: signed };
    }
    this.transcript = dialTranscript(terms, own, extras);
    this.signature = Buffer.from(sign(dialStatement(this.transcript, this.version)));
    this.proof = encodeProof({ keys, ...own, ...extras, signature: this.signature });
  }

  /** Whether the keys follow from ML-KEM-768 as well, once the reply is checked. */
  get isQuantumSafe(): boolean {
    return this.kem !== undefined;
  }

  /** Returns how many bytes behind a reply {@link verify} needs. */
  bytesBehind({ proof }: ReadReply): number {
    const { kem } = this.context;
    if (!this.isOffered || kem === undefined || proof === undefined) return 0;
    return isHybridChoice(proof) ? kem.publicKeyBytes : 0;
  }

  /**
   * Checks the reply that accepts the circuit. Returns why it is not that of the destination; undefined when it is.
   * @param behind as many bytes as {@link bytesBehind} has said
   */
  verify(reply: ReadReply, behind: Uint8Array = NOTHING): Error | undefined {
    try {
      this.keys = this.keysOf(reply, behind);
      return undefined;
    } catch (error) {
      return error as Error;
    }
  }

  /**
   * Returns the stream to use in place of that of the session, after {@link verify} has returned undefined. Confirms the circuit.
   * @param trace the trace context for the other end, if that reads it
   */
  carry(stream: MuxStream, trace?: Buffer): SecureStream {
    const { keys, kem } = this;
    if (keys === null) throw starlaneError('ERR_STARLANE_SECURE', 'the reply was not checked');
    this.keys = null;
    return SecureStream.dialled(stream, keys, kem?.ciphertext, trace);
  }

  private keysOf({ proof, port }: ReadReply, behind: Uint8Array): CircuitKeys {
    const { terms, context, dst: known, version } = this;
    const { dst } = terms;
    if (proof === undefined) throw starlaneError('ERR_STARLANE_SECURE', `the reply has no proof of ${dst}`);
    const { publicKey, ephemeral, signature, keys } = readProof(proof);
    context.checkKey(dst, publicKey);
    if (known !== undefined && Buffer.compare(known.publicKey, publicKey) !== 0) {
      throw starlaneError('ERR_STARLANE_SECURE', `the key is not that for which the circuit of ${dst} was opened`);
    }
    const extras = version === 1 ? undefined : { choice: choiceOf(keys, dst), kemKey: behind };
    const accept = acceptTranscript(this.transcript, this.signature, { publicKey, ephemeral }, port, extras);
    if (!verifySignature(publicKey, acceptStatement(accept, version), signature)) {
      throw starlaneError('ERR_STARLANE_SECURE', `the reply is not what ${dst} has signed`);
    }
    const networkKey = chosenKey(keys, version, context);
    const shared = this.ephemeral.agree(ephemeral);
    this.kem = behind.length === 0 ? undefined : this.encapsulate(behind);
    return circuitKeys(shared, networkKey, accept, version, this.kem);
  }

  private encapsulate(publicKey: Uint8Array): KemSecret {
    try {
      return (this.context.kem as Kem).encapsulate(publicKey);
    } catch (error) {
      throw starlaneError('ERR_STARLANE_SECURE', 'the peer sent an invalid ML-KEM key', error);
    }
  }
}

function choiceOf(keys: Uint8Array, dst: NodeId): number {
  if (keys.length === 1) return keys[0];
  throw starlaneError('ERR_STARLANE_SECURE', `the reply is not what ${dst} has signed`);
}

function isHybridChoice(proof: Uint8Array): boolean {
  return proof.length > CIRCUIT_PROOF_BYTES && (proof[CIRCUIT_PROOF_BYTES] & ReplyChoice.HYBRID) !== 0;
}

/** The keys of a circuit, once the dialler has sent its ciphertext. */
export interface KeyExchange {
  readonly bytes: number;
  /** @throws ERR_STARLANE_SECURE */
  keys(ciphertext: Uint8Array): CircuitKeys;
}

/** The answer to a secure circuit. */
export interface SecureAnswer {
  /** The proof that the reply carries. */
  readonly proof: Buffer;
  /** What follows the reply at once. */
  readonly behind: Buffer;
  /** The keys of what follows, or what is needed for them. */
  readonly keys: CircuitKeys | KeyExchange;
}

/** What the source of an OPEN has signed. */
interface SignedOpen {
  readonly proof: CircuitProof;
  readonly version: HandshakeVersion;
  readonly transcript: Buffer;
  /** Bits of {@link CircuitMode}. */
  readonly mode: number;
  /** Undefined in handshake 1. */
  readonly signedAtS: number | undefined;
}

/**
 * Checks that the node that OPEN names as its source has signed it. A relay can do so as well.
 * @param dstKey the public key of the destination: handshake 2 needs it
 * @throws ERR_STARLANE_SECURE when the proof does not hold
 */
export function verifySource(open: Open, dstKey: Uint8Array | undefined, checkKey: KeyCheck): SignedOpen {
  const { proof: bytes, src, dst } = open;
  if (bytes === undefined) throw starlaneError('ERR_STARLANE_SECURE', `the OPEN has no proof of ${src}`);
  const proof = readProof(bytes);
  const { publicKey, ephemeral, signature, keys, terms } = proof;
  checkKey(src, publicKey);
  const said = readTerms(terms);
  let extras: DialExtras | undefined;
  if (said !== undefined) {
    if (dstKey === undefined) throw starlaneError('ERR_STARLANE_SECURE', `the key of ${dst} is not known`);
    extras = { dstKey, keys, terms };
  }
  const version = said === undefined ? 1 : 2;
  const { mode, signedAtS } = said ?? { mode: CircuitMode.ENCRYPTED, signedAtS: undefined };
  const transcript = dialTranscript(open, { publicKey, ephemeral }, extras);
  const isEncrypted = (mode & CircuitMode.ENCRYPTED) !== 0;
  const statement = isEncrypted ? dialStatement(transcript, version) : sourceStatement(transcript);
  if (!verifySignature(publicKey, statement, signature)) {
    throw starlaneError('ERR_STARLANE_SECURE', `the OPEN is not what ${src} has signed`);
  }
  return { proof, version, transcript, mode, signedAtS };
}

/**
 * The server's end: checks that the node that OPEN names has signed it. The node need not be there now, since anybody can repeat
 * what was signed once: only its confirmation shows that.
 */
export class AcceptHandshake {
  /** Whether the circuit is encrypted. If not, only its source is proved, and {@link accept} must not be called. */
  readonly isEncrypted: boolean;
  /** Whether the keys will follow from ML-KEM-768 as well. */
  readonly isQuantumSafe: boolean;
  /** When the source has signed it, in s since 1970 by its own clock; undefined in handshake 1. */
  readonly signedAtS: number | undefined;
  readonly sourceKey: Uint8Array;
  readonly circuitId: Uint8Array;
  private readonly version: HandshakeVersion;
  private readonly transcript: Buffer;
  private readonly ephemeral: Buffer;
  private readonly chosen: ChosenKey | undefined;
  private readonly signature: Buffer;

  /** @throws ERR_STARLANE_SECURE when the proof does not hold */
  constructor(
    open: Open,
    private readonly context: HandshakeContext,
  ) {
    const signed = verifySource(open, context.identity.publicKey, context.checkKey);
    const { publicKey, ephemeral, signature, keys } = signed.proof;
    this.version = signed.version;
    this.transcript = signed.transcript;
    this.signedAtS = signed.signedAtS;
    this.isEncrypted = (signed.mode & CircuitMode.ENCRYPTED) !== 0;
    this.isQuantumSafe = this.isEncrypted && (signed.mode & CircuitMode.HYBRID) !== 0 && context.kem !== undefined;
    this.chosen = this.isEncrypted ? chooseKey(keys, this.version, context) : undefined;
    // The bytes of the OPEN are used again, maybe before the circuit is accepted.
    this.sourceKey = Buffer.from(publicKey);
    this.circuitId = Buffer.from(open.circuitId);
    this.ephemeral = Buffer.from(ephemeral);
    this.signature = Buffer.from(signature);
  }

  /** @param port the port that answers. @throws ERR_STARLANE_SECURE when no secret can be shared with the dialler */
  accept(port: number): SecureAnswer {
    const { version, context, transcript, signature } = this;
    const { networkKey, answer } = this.chosen as ChosenKey;
    const { publicKey, sign } = context.identity;
    const own = new EphemeralKey();
    const keys = { publicKey, ephemeral: own.publicKey };
    const shared = own.agree(this.ephemeral);
    if (version === 1) {
      const accept = acceptTranscript(transcript, signature, keys, port);
      const proof = encodeProof({ ...keys, signature: sign(acceptStatement(accept)), keys: answer });
      return { proof, behind: NOTHING, keys: circuitKeys(shared, networkKey, accept) };
    }
    const kem = this.isQuantumSafe ? context.kem : undefined;
    const kemKey = kem?.generate();
    const behind = kemKey?.publicKey ?? NOTHING;
    const choice = answer[0] | (kemKey === undefined ? 0 : ReplyChoice.HYBRID);
    const accept = acceptTranscript(transcript, signature, keys, port, { choice, kemKey: behind });
    const signed = sign(acceptStatement(accept, version));
    const proof = encodeProof({ ...keys, signature: signed, keys: Buffer.from([choice]) });
    if (kem === undefined || kemKey === undefined) {
      return { proof, behind, keys: circuitKeys(shared, networkKey, accept, version) };
    }
    const exchange: KeyExchange = {
      bytes: kem.ciphertextBytes,
      keys(ciphertext) {
        let secret: Uint8Array;
        try {
          secret = kemKey.decapsulate(ciphertext);
        } catch (error) {
          throw starlaneError('ERR_STARLANE_SECURE', 'the peer sent an invalid ML-KEM ciphertext', error);
        }
        return circuitKeys(shared, networkKey, accept, version, { secret, ciphertext });
      },
    };
    return { proof, behind, keys: exchange };
  }
}
