// What a joiner and a node say to each other before there is a link, and what members ask an issuer for. Big-endian, pure.
//
//   frame          u32 length | u8 type | body                         the length counts type and body: at most 8 KiB
//
//   HELLO          8 time | u8 n + n * (u16 length + statement)
//   ENROL          16 network id | 8 issuer | 8 time | 16 code id | u32 expires at (s) | 32 key | u8 length + name
//                  | 64 signature | 32 mac
//   RENEW          8 issuer | 8 time | u16 length + certificate | 64 signature
//   CERTIFIED      u16 length + certificate | u8 n + n * (u16 length + certificate of an authority)
//                  | u8 n + n * (u8 length + seed) | u8 n + n * (u16 length + statement)
//   REFUSED        u8 code | 8 node that decided | 8 time | u8 length + reason
//   NOTICE         u8 code | 8 time | u8 length + reason
//
// A node that is asked sends HELLO with its clock first, and with the successions by which a joiner can tell that its authority is that of the
// token. ENROL and RENEW get CERTIFIED or REFUSED. NOTICE is what a joiner says instead of ENROL when it does not want this node. Times
// are in ms since 1970.
//
// ENROL is signed by the key of the joiner, and its mac is keyed by the code of the token, so a node that passes it on can change nothing
// and use nothing. RENEW is signed by the key of the certificate. Signature and mac cover a fixed text and everything in front of them;
// nothing follows them. What follows other messages is of later versions, and skipped.

import { NODE_ID_BYTES, type NodeId, nodeIdToBytes } from '../address.js';
import { exactly, FieldReader, readUint32, shortText, uint } from './fields.js';
import { readNodeId } from './node-ids.js';
import { MAX_CERTIFICATE_BYTES, MAX_STATEMENT_BYTES } from './statements.js';
import { encodeReason, malformed, readReason, readText } from './text.js';
import { NETWORK_ID_BYTES } from './token.js';

/** Type and body of a frame. */
const MAX_FRAME_BYTES = 8 * 1024;
const LENGTH_BYTES = 4;
/** A whole frame, and the bound of what a reader keeps. */
export const MAX_ENROLMENT_BYTES = LENGTH_BYTES + MAX_FRAME_BYTES;

const CODE_ID_BYTES = 16;
const KEY_BYTES = 32;
const SIGNATURE_BYTES = 64;
const MAC_BYTES = 32;
const TIME_BYTES = 8;
/** Of a member. */
const MAX_NAME_BYTES = 64;
const MAX_AUTHORITIES = 8;
const MAX_SEEDS = 16;
const MAX_SEED_BYTES = 255;
const MAX_STATEMENTS = 255;
const ENROL_LABEL = Buffer.from('starlane enrol 1\n');
const RENEW_LABEL = Buffer.from('starlane renew 1\n');

/** The numbers are the wire: append only. */
export const EnrolmentType = { HELLO: 1, ENROL: 2, RENEW: 3, CERTIFIED: 4, REFUSED: 5, NOTICE: 6 } as const;

/** Why a request or a node is refused. The numbers are the wire: append only. */
export const RefusalCode = {
  /** No such token. */
  TOKEN: 1,
  USED: 2,
  EXPIRED: 3,
  WRONG_NETWORK: 4,
  CLOCK: 5,
  REVOKED: 6,
  /** Too many requests, or too many wrong ones. */
  LIMIT: 7,
  /** The issuer cannot be reached. */
  UNREACHABLE: 8,
  MALFORMED: 9,
  /** The node that was asked does not have the key of the authority, or cannot use it. */
  AUTHORITY: 10,
  /** The certificate to be renewed has expired. */
  CERTIFICATE_EXPIRED: 11,
  /** The certificate is not that of a member. */
  CERTIFICATE: 12,
  /** The token is not for the name that the joiner wants. */
  NAME: 13,
} as const;

export interface Hello {
  readonly timeMs: number;
  readonly statements: readonly Uint8Array[];
}

/** The part of ENROL that its signature covers. */
export interface EnrolContent {
  readonly networkId: string;
  readonly issuer: NodeId;
  readonly timeMs: number;
  /** 16 bytes that follow from the code. */
  readonly codeId: Uint8Array;
  /** The expiry that the token names. */
  readonly expiresAtMs: number;
  /** Raw Ed25519, 32 bytes: that of the joiner. */
  readonly publicKey: Uint8Array;
  /** What the joiner wants to be called; empty: as the token says. */
  readonly name: string;
}

/** The part of RENEW that its signature covers. */
export interface RenewContent {
  readonly issuer: NodeId;
  readonly timeMs: number;
  /** In DER. */
  readonly certificate: Uint8Array;
}

export interface Certified {
  /** In DER, as those of the authorities. */
  readonly certificate: Uint8Array;
  readonly authorities: readonly Uint8Array[];
  /** Link addresses. */
  readonly seeds: readonly string[];
  readonly statements: readonly Uint8Array[];
}

export interface Refused {
  /** One of {@link RefusalCode}, or of a later version. */
  readonly code: number;
  /** The node that decided. */
  readonly at: NodeId;
  readonly timeMs: number;
  readonly reason: string;
}

export interface Notice {
  /** One of {@link RefusalCode}, or of a later version. */
  readonly code: number;
  readonly timeMs: number;
  readonly reason: string;
}

/** What a signature or mac covers, and what it is. */
interface Signed {
  readonly signed: Buffer;
  readonly signature: Buffer;
}

/** A message that has been read; it keeps nothing of the bytes. Signatures, macs and certificates are unchecked. */
export type EnrolmentMessage =
  | ({ readonly type: typeof EnrolmentType.HELLO } & Hello)
  | ({
      readonly type: typeof EnrolmentType.ENROL;
      readonly authenticated: Buffer;
      readonly mac: Buffer;
    } & EnrolContent &
      Signed)
  | ({ readonly type: typeof EnrolmentType.RENEW } & RenewContent & Signed)
  | ({ readonly type: typeof EnrolmentType.CERTIFIED } & Certified)
  | ({ readonly type: typeof EnrolmentType.REFUSED } & Refused)
  | ({ readonly type: typeof EnrolmentType.NOTICE } & Notice);

export type EnrolRequest = Extract<EnrolmentMessage, { type: typeof EnrolmentType.ENROL }>;
export type RenewRequest = Extract<EnrolmentMessage, { type: typeof EnrolmentType.RENEW }>;
export type EnrolmentReply = Extract<
  EnrolmentMessage,
  { type: typeof EnrolmentType.CERTIFIED | typeof EnrolmentType.REFUSED }
>;

type Signer = (bytes: Uint8Array) => Uint8Array;

// --- writing. All throw ERR_STARLANE_MESSAGE when a field does not fit, and ERR_STARLANE_ADDRESS for a wrong node id ---

export function encodeHello({ timeMs, statements }: Hello): Buffer {
  return frame(EnrolmentType.HELLO, [time(timeMs), ...list(MAX_STATEMENTS, statements, statementField)]);
}

export function encodeEnrol(content: EnrolContent, sign: Signer, mac: Signer): Buffer {
  const fields = Buffer.concat([
    exactly(NETWORK_ID_BYTES, Buffer.from(content.networkId, 'base64url'), 'network id'),
    nodeIdToBytes(content.issuer),
    time(content.timeMs),
    exactly(CODE_ID_BYTES, content.codeId, 'code id'),
    uint(4, Math.ceil(content.expiresAtMs / 1_000), 'expiry'),
    exactly(KEY_BYTES, content.publicKey, 'key'),
    shortText(content.name, MAX_NAME_BYTES, 'name'),
  ]);
  const signature = exactly(SIGNATURE_BYTES, sign(Buffer.concat([ENROL_LABEL, fields])), 'signature');
  const proof = exactly(MAC_BYTES, mac(Buffer.concat([ENROL_LABEL, fields, signature])), 'mac');
  return frame(EnrolmentType.ENROL, [fields, signature, proof]);
}

export function encodeRenew({ issuer, timeMs, certificate }: RenewContent, sign: Signer): Buffer {
  const fields = Buffer.concat([nodeIdToBytes(issuer), time(timeMs), certificateField(certificate)]);
  const signature = exactly(SIGNATURE_BYTES, sign(Buffer.concat([RENEW_LABEL, fields])), 'signature');
  return frame(EnrolmentType.RENEW, [fields, signature]);
}

/** Leaves out statements that do not fit: a member gets all of them with its first link. */
export function encodeCertified({ certificate, authorities, seeds, statements }: Certified): Buffer {
  const parts = [
    certificateField(certificate),
    ...list(MAX_AUTHORITIES, authorities, certificateField),
    ...list(MAX_SEEDS, seeds, (seed) => shortText(seed, MAX_SEED_BYTES, 'seed')),
  ];
  // The type, and the count of statements.
  let length = parts.reduce((sum, part) => sum + part.length, 2);
  const fitting = statements.slice(0, MAX_STATEMENTS).filter((statement) => {
    if (length + 2 + statement.length > MAX_FRAME_BYTES) return false;
    length += 2 + statement.length;
    return true;
  });
  return frame(EnrolmentType.CERTIFIED, [...parts, ...list(MAX_STATEMENTS, fitting, statementField)]);
}

export function encodeRefused({ code, at, timeMs, reason }: Refused): Buffer {
  return frame(EnrolmentType.REFUSED, [uint(1, code, 'code'), nodeIdToBytes(at), time(timeMs), reasonField(reason)]);
}

export function encodeNotice({ code, timeMs, reason }: Notice): Buffer {
  return frame(EnrolmentType.NOTICE, [uint(1, code, 'code'), time(timeMs), reasonField(reason)]);
}

// --- reading ---

/**
 * Reads the frame at the start of `bytes`, which are what has arrived so far. Returns undefined when more are needed, but never for more
 * than {@link MAX_ENROLMENT_BYTES} in all. `message` is undefined for a type of a later version.
 * @throws StarlaneError ERR_STARLANE_MESSAGE when it is malformed
 */
export function tryReadEnrolment(
  bytes: Uint8Array,
): { message: EnrolmentMessage | undefined; bytesRead: number } | undefined {
  if (bytes.length < LENGTH_BYTES) return undefined;
  const length = readUint32(bytes, 0);
  if (length < 1 || length > MAX_FRAME_BYTES) throw malformed(`a frame of ${length} bytes`);
  const end = LENGTH_BYTES + length;
  if (bytes.length < end) return undefined;
  return { message: decode(bytes.subarray(LENGTH_BYTES, end)), bytesRead: end };
}

function decode(typeAndBody: Uint8Array): EnrolmentMessage | undefined {
  const body = typeAndBody.subarray(1);
  const fields = new FieldReader(body);
  switch (typeAndBody[0]) {
    case EnrolmentType.HELLO:
      return { type: EnrolmentType.HELLO, timeMs: readTime(fields), statements: readStatements(fields) };
    case EnrolmentType.ENROL:
      return readEnrol(fields, body);
    case EnrolmentType.RENEW:
      return readRenew(fields, body);
    case EnrolmentType.CERTIFIED:
      return {
        type: EnrolmentType.CERTIFIED,
        certificate: readSized(fields, MAX_CERTIFICATE_BYTES),
        authorities: fields.list(MAX_AUTHORITIES, () => readSized(fields, MAX_CERTIFICATE_BYTES)),
        seeds: fields.list(MAX_SEEDS, () => fields.take(fields.uint(1), readText)),
        statements: readStatements(fields),
      };
    case EnrolmentType.REFUSED: {
      const code = fields.uint(1);
      const at = fields.take(NODE_ID_BYTES, readNodeId);
      return { type: EnrolmentType.REFUSED, code, at, timeMs: readTime(fields), reason: readReasonField(fields) };
    }
    case EnrolmentType.NOTICE: {
      const code = fields.uint(1);
      return { type: EnrolmentType.NOTICE, code, timeMs: readTime(fields), reason: readReasonField(fields) };
    }
    default:
      return undefined;
  }
}

function readEnrol(fields: FieldReader, body: Uint8Array): EnrolRequest {
  const content = {
    networkId: fields.copy(NETWORK_ID_BYTES).toString('base64url'),
    issuer: fields.take(NODE_ID_BYTES, readNodeId),
    timeMs: readTime(fields),
    codeId: fields.copy(CODE_ID_BYTES),
    expiresAtMs: fields.uint(4) * 1_000,
    publicKey: fields.copy(KEY_BYTES),
    name: readName(fields),
  };
  const signed = covered(ENROL_LABEL, body, fields);
  const signature = fields.copy(SIGNATURE_BYTES);
  const authenticated = covered(ENROL_LABEL, body, fields);
  const mac = fields.copy(MAC_BYTES);
  endOf(fields);
  return { type: EnrolmentType.ENROL, ...content, signed, signature, authenticated, mac };
}

function readRenew(fields: FieldReader, body: Uint8Array): RenewRequest {
  const content = {
    issuer: fields.take(NODE_ID_BYTES, readNodeId),
    timeMs: readTime(fields),
    certificate: readSized(fields, MAX_CERTIFICATE_BYTES),
  };
  const signed = covered(RENEW_LABEL, body, fields);
  const signature = fields.copy(SIGNATURE_BYTES);
  endOf(fields);
  return { type: EnrolmentType.RENEW, ...content, signed, signature };
}

/** What has been read so far, as signatures and macs cover it. */
function covered(label: Buffer, body: Uint8Array, fields: FieldReader): Buffer {
  return Buffer.concat([label, body.subarray(0, fields.position)]);
}

function endOf(fields: FieldReader): void {
  if (fields.left > 0) throw malformed('bytes behind a request');
}

// --- fields ---

function frame(type: number, body: readonly Uint8Array[]): Buffer {
  const length = body.reduce((sum, part) => sum + part.length, 1);
  if (length > MAX_FRAME_BYTES) throw malformed(`a frame of ${length} bytes`);
  return Buffer.concat([uint(LENGTH_BYTES, length, 'length'), uint(1, type, 'type'), ...body]);
}

function time(ms: number): Buffer {
  if (!Number.isSafeInteger(ms) || ms < 0) throw malformed(`a time of ${ms}`);
  const bytes = Buffer.alloc(TIME_BYTES);
  bytes.writeBigUInt64BE(BigInt(ms));
  return bytes;
}

function readTime(fields: FieldReader): number {
  const ms = Number(fields.copy(TIME_BYTES).readBigUInt64BE());
  if (!Number.isSafeInteger(ms)) throw malformed('a time far away');
  return ms;
}

function list<Item>(max: number, items: readonly Item[], write: (item: Item) => Buffer): Buffer[] {
  if (items.length > max) throw malformed(`a list of ${items.length}`);
  return [uint(1, items.length, 'count'), ...items.map(write)];
}

function certificateField(certificate: Uint8Array): Buffer {
  return sized(certificate, MAX_CERTIFICATE_BYTES);
}

function statementField(statement: Uint8Array): Buffer {
  return sized(statement, MAX_STATEMENT_BYTES);
}

/** Bytes behind a length of two bytes. */
function sized(bytes: Uint8Array, max: number): Buffer {
  if (bytes.length > max) throw malformed(`a field of ${bytes.length} bytes`);
  return Buffer.concat([uint(2, bytes.length, 'length'), bytes]);
}

function readSized(fields: FieldReader, max: number): Buffer {
  const length = fields.uint(2);
  if (length > max) throw malformed(`a field of ${length} bytes`);
  return fields.copy(length);
}

function readStatements(fields: FieldReader): Buffer[] {
  return fields.list(MAX_STATEMENTS, () => readSized(fields, MAX_STATEMENT_BYTES));
}

function readName(fields: FieldReader): string {
  const length = fields.uint(1);
  if (length > MAX_NAME_BYTES) throw malformed(`a name of ${length} bytes`);
  return fields.take(length, readText);
}

function reasonField(reason: string): Buffer {
  const bytes = encodeReason(reason);
  return Buffer.concat([uint(1, bytes.length, 'reason'), bytes]);
}

function readReasonField(fields: FieldReader): string {
  return fields.take(fields.uint(1), readReason);
}
