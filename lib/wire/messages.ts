// Messages of the control stream between neighbours. Big-endian, pure.
//
//   HELLO          u16 version | u16 least version | 8 node id | 32 public key | 16 boot id | u8 role | u8 flags
//                  | u32 capabilities | u8 n + n * 8 env digests | u8 n + n * (u8 n + listen address) | 16 nonce
//   AUTH           64 signature | u8 n + n membership proof [ | u8 n + n * 32 further proofs [ | u16 n + certificate of the member ] ];
//                  lib/link/handshake/auth.ts defines what is signed and proved
//   SYNCED         empty: the initial sync of the link is done
//   GOODBYE        u8 code | u8 n + reason
//   NOTICE         u8 code | u8 n + text: a warning for the user of the peer, with a code of GOODBYE; the link stays
//
// The messages that carry records are in gossip-messages.ts. A reader skips unknown types, and bytes after the fields that it knows,
// so that later versions can add both.

import { createHash } from 'node:crypto';
import { MAX_LINK_ADDRESS_BYTES, NODE_ID_BYTES, type NodeId, nodeIdFromBytes, nodeIdToBytes } from '../address.js';
import type { NodeRole } from '../options/options.js';
import {
  bootIdBytes,
  bootIdFromBytes,
  ENV_DIGEST_BYTES,
  envDigestBytes,
  exactly,
  FieldReader,
  shortText,
  uint,
} from './fields.js';
import {
  decodeBuckets,
  decodeDigest,
  decodeEntries,
  decodeRecords,
  decodeWant,
  encodeGossipMessage,
  type GossipMessage,
} from './gossip-messages.js';
import { encodeMessage, MAX_MESSAGE_BYTES, MessageType } from './message.js';
import { MAX_CERTIFICATE_BYTES } from './statements.js';
import { encodeReason, malformed, readReason, readText } from './text.js';

export { encodeMessage, MAX_MESSAGE_BYTES, MessageType };

/** The protocol of the control stream that this version speaks, and the oldest that it understands. */
export const PROTOCOL_VERSION = 1;
export const MIN_PROTOCOL_VERSION = 1;

const MAX_ENV_DIGESTS = 16;
export const MAX_LISTEN_ADDRESSES = 8;
export const NONCE_BYTES = 16;

/** HMAC-SHA256 of a member. A node without a secret sends no bytes. */
const MEMBERSHIP_PROOF_BYTES = 32;

const MAX_FURTHER_PROOFS = 3;

const PUBLIC_KEY_BYTES = 32;
const BOOT_ID_BYTES = 16;
const SIGNATURE_BYTES = 64;

/** Why a link is refused or closed. The numbers are the wire: append only. */
export const GoodbyeCode = {
  /** The node closes. */
  NORMAL: 0,
  WRONG_VERSION: 1,
  /** The link leads back to the node itself. */
  SELF_LINK: 2,
  /** There is a link to this peer already. */
  DUPLICATE: 3,
  /** Too many links. */
  LIMIT: 4,
  HANDSHAKE_REFUSED: 5,
  /** A message could not be understood. */
  MALFORMED: 6,
  /** Too many links, and the peer has others. */
  SHED: 7,
  /** The membership is not proved, or cannot be checked. */
  NOT_MEMBER: 8,
  /** The identity is not proved. */
  IDENTITY: 9,
  /** This end does not accept the certificate. */
  TLS: 10,
  /** A newer process has the identity. */
  TAKEN: 11,
  /** The certificate of the member has expired. */
  EXPIRED: 12,
  /** The membership was revoked. */
  REVOKED: 13,
  /** There is no certificate of the network, or not a valid one. */
  CERTIFICATE: 14,
  /** The certificate is not valid yet, so that one of the two clocks is wrong. */
  CLOCK: 15,
} as const;
export type GoodbyeCode = (typeof GoodbyeCode)[keyof typeof GoodbyeCode];

/** Bits of the capabilities in HELLO. The numbers are the wire: append only. */
export const Capability = {
  /** The node keeps statements about members, and takes the messages that spread them. */
  MEMBERS: 0x1,
} as const;

/** The first message of either side. */
export interface Hello {
  readonly version: number;
  /** The oldest version that the sender understands. */
  readonly minVersion: number;
  readonly nodeId: NodeId;
  /** Raw Ed25519, 32 bytes. That the node id is its hash is for the handshake to check. */
  readonly publicKey: Uint8Array;
  /** A UUID, new at every start of a node. */
  readonly bootId: string;
  /** A role of a later version is read as 'peer'. */
  readonly role: NodeRole;
  /** Bits for later versions, 0..255. */
  readonly flags: number;
  /** Bits of {@link Capability}, or of later versions, 0..4294967295. */
  readonly capabilities: number;
  /** From {@link envDigests}: nodes meet when they have one in common. */
  readonly envDigests: readonly string[];
  /** Link addresses under which the sender can be joined. */
  readonly listenAddresses: readonly string[];
  /** 16 random bytes, new for every link. */
  readonly nonce: Uint8Array;
}

/** The second message of either side: the proof of its HELLO. */
export interface Auth {
  /** Ed25519, 64 bytes. */
  readonly signature: Uint8Array;
  /** {@link MEMBERSHIP_PROOF_BYTES}, or no bytes from a node without a secret. */
  readonly proof: Uint8Array;
  /** Proofs of further secrets, while one secret replaces another: up to {@link MAX_FURTHER_PROOFS}. */
  readonly furtherProofs?: readonly Uint8Array[];
  /** The certificate of a member, in DER, on links without tls, which would show it. Up to {@link MAX_CERTIFICATE_BYTES}. */
  readonly certificate?: Uint8Array;
}

export interface Goodbye {
  /** One of {@link GoodbyeCode}, or the number of a later version. */
  readonly code: number;
  /** At most 255 bytes of UTF-8; a longer one is cut. */
  readonly reason: string;
}

export type Message =
  | ({ readonly type: typeof MessageType.HELLO } & Hello)
  | ({ readonly type: typeof MessageType.AUTH } & Auth)
  | { readonly type: typeof MessageType.SYNCED }
  | ({ readonly type: typeof MessageType.GOODBYE } & Goodbye)
  | ({ readonly type: typeof MessageType.NOTICE } & Goodbye)
  | GossipMessage;

/** The index is the number on the wire: append only. */
const ROLES: readonly NodeRole[] = ['peer', 'client', 'server', 'router'];

/**
 * Returns the digests of envs, which HELLO has instead of their names: the first 8 bytes of SHA-256 of each, as 16 hex digits. No env at
 * all is the env with the empty name.
 */
export function envDigests(env: readonly string[]): string[] {
  const names = env.length === 0 ? [''] : env;
  return names.map((name) =>
    createHash('sha256')
      .update(name)
      .digest('hex')
      .slice(0, 2 * ENV_DIGEST_BYTES),
  );
}

/** @throws StarlaneError ERR_STARLANE_MESSAGE when a field does not fit, as all encoders here do */
export function encodeHello(hello: Hello): Buffer {
  const { envDigests: digests, listenAddresses: addresses } = hello;
  if (digests.length > MAX_ENV_DIGESTS) throw malformed(`more than ${MAX_ENV_DIGESTS} envs`);
  if (addresses.length > MAX_LISTEN_ADDRESSES) throw malformed(`more than ${MAX_LISTEN_ADDRESSES} listen addresses`);
  const role = ROLES.indexOf(hello.role);
  if (role < 0) throw malformed('unknown role');
  return encodeMessage(MessageType.HELLO, [
    uint(2, hello.version, 'version'),
    uint(2, hello.minVersion, 'least version'),
    nodeIdToBytes(hello.nodeId),
    exactly(PUBLIC_KEY_BYTES, hello.publicKey, 'public key'),
    bootIdBytes(hello.bootId),
    uint(1, role, 'role'),
    uint(1, hello.flags, 'flags'),
    uint(4, hello.capabilities, 'capabilities'),
    uint(1, digests.length, 'envs'),
    ...digests.map(envDigestBytes),
    uint(1, addresses.length, 'listen addresses'),
    ...addresses.map((address) => shortText(address, MAX_LINK_ADDRESS_BYTES, 'listen address')),
    exactly(NONCE_BYTES, hello.nonce, 'nonce'),
  ]);
}

export function encodeAuth({ signature, proof, furtherProofs = [], certificate }: Auth): Buffer {
  const further = furtherProofs.map((one) => exactly(MEMBERSHIP_PROOF_BYTES, one, 'proof'));
  return encodeMessage(MessageType.AUTH, [
    exactly(SIGNATURE_BYTES, signature, 'signature'),
    uint(1, proof.length, 'proof'),
    proofBytes(proof),
    // Left out where there are none, as by the versions before.
    ...(further.length === 0 && certificate === undefined ? [] : [uint(1, further.length, 'proofs'), ...further]),
    ...(certificate === undefined ? [] : [uint(2, certificateBytes(certificate).length, 'certificate'), certificate]),
  ]);
}

export function encodeSynced(): Buffer {
  return encodeMessage(MessageType.SYNCED, []);
}

export function encodeGoodbye(goodbye: Goodbye): Buffer {
  return encodeMessage(MessageType.GOODBYE, codeAndReason(goodbye));
}

export function encodeNotice(notice: Goodbye): Buffer {
  return encodeMessage(MessageType.NOTICE, codeAndReason(notice));
}

function codeAndReason({ code, reason }: Goodbye): Buffer[] {
  const bytes = encodeReason(reason);
  return [uint(1, code, 'code'), uint(1, bytes.length, 'reason'), bytes];
}

/** Encodes any message. */
export function encodeMessageOf(message: Message): Buffer {
  switch (message.type) {
    case MessageType.HELLO:
      return encodeHello(message);
    case MessageType.AUTH:
      return encodeAuth(message);
    case MessageType.SYNCED:
      return encodeSynced();
    case MessageType.GOODBYE:
      return encodeGoodbye(message);
    case MessageType.NOTICE:
      return encodeNotice(message);
    default:
      return encodeGossipMessage(message);
  }
}

/**
 * Reads the type and body of one message; undefined when the type is not known.
 * @throws StarlaneError ERR_STARLANE_MESSAGE when the body is malformed
 */
export function decodeMessage(typeAndBody: Uint8Array): Message | undefined {
  const fields = new FieldReader(typeAndBody);
  const type = fields.uint(1);
  switch (type) {
    case MessageType.HELLO:
      return decodeHello(fields);
    case MessageType.AUTH:
      return decodeAuth(fields);
    case MessageType.SYNCED:
      return { type };
    case MessageType.GOODBYE:
    case MessageType.NOTICE:
      return { type, code: fields.uint(1), reason: fields.take(fields.uint(1), readReason) };
    case MessageType.RECORDS:
      return decodeRecords(fields);
    case MessageType.DIGEST:
      return decodeDigest(fields);
    case MessageType.BUCKETS:
      return decodeBuckets(fields);
    case MessageType.ENTRIES:
      return decodeEntries(fields);
    case MessageType.WANT:
      return decodeWant(fields);
    default:
      return undefined;
  }
}

function decodeAuth(fields: FieldReader): Message {
  const auth = { signature: fields.copy(SIGNATURE_BYTES), proof: proofBytes(fields.copy(fields.uint(1))) };
  const further = fields.left === 0 ? [] : fields.list(MAX_FURTHER_PROOFS, () => fields.copy(MEMBERSHIP_PROOF_BYTES));
  if (further.length > 0 && auth.proof.length === 0) throw malformed('further proofs without a first one');
  const certificate = fields.left === 0 ? undefined : certificateBytes(fields.copy(fields.uint(2)));
  return {
    type: MessageType.AUTH,
    ...auth,
    ...(further.length === 0 ? {} : { furtherProofs: further }),
    ...(certificate === undefined || certificate.length === 0 ? {} : { certificate }),
  };
}

function decodeHello(fields: FieldReader): Message {
  return {
    type: MessageType.HELLO,
    version: fields.uint(2),
    minVersion: fields.uint(2),
    nodeId: nodeIdFromBytes(fields.copy(NODE_ID_BYTES)),
    publicKey: fields.copy(PUBLIC_KEY_BYTES),
    bootId: bootIdFromBytes(fields.copy(BOOT_ID_BYTES)),
    role: ROLES[fields.uint(1)] ?? 'peer',
    flags: fields.uint(1),
    capabilities: fields.uint(4),
    envDigests: fields.list(MAX_ENV_DIGESTS, () => fields.copy(ENV_DIGEST_BYTES).toString('hex')),
    listenAddresses: fields.list(MAX_LISTEN_ADDRESSES, () => fields.take(fields.uint(1), readText)),
    nonce: fields.copy(NONCE_BYTES),
  };
}

/** Returns the certificate. @throws ERR_STARLANE_MESSAGE when it is longer than any may be */
function certificateBytes<Bytes extends Uint8Array>(certificate: Bytes): Bytes {
  if (certificate.length > MAX_CERTIFICATE_BYTES) throw malformed(`a certificate of ${certificate.length} bytes`);
  return certificate;
}

/** Returns the proof. @throws ERR_STARLANE_MESSAGE when it has another length than 0 and that of a proof */
function proofBytes<Bytes extends Uint8Array>(proof: Bytes): Bytes {
  if (proof.length !== 0 && proof.length !== MEMBERSHIP_PROOF_BYTES)
    throw malformed(`a proof of ${proof.length} bytes`);
  return proof;
}
