// Statements of an authority about members, which all members pass on unchanged. Big-endian, pure.
//
//   statement      u8 kind | body
//   CERTIFICATE    X.509 in DER, of a member
//   REVOCATION     32 authority key | 32 revoked key | u32 made at (s) | u32 kept until (s) | 64 signature
//   SUCCESSION     32 old authority key | 32 new authority key | u32 made at (s) | u32 old one holds until (s)
//                  | 64 signature of the old | 64 signature of the new
//
// Keys and signatures are of Ed25519. A signature covers a fixed text and everything in front of the signatures. Times are in seconds
// since 1970. Each statement has exactly one form; bytes behind it make it malformed.

import { exactly, FieldReader, uint } from './fields.js';
import { malformed } from './text.js';

/** The numbers are the wire: append only. */
export const StatementKind = { CERTIFICATE: 1, REVOCATION: 2, SUCCESSION: 3 } as const;

/** The longest certificate of a member. */
export const MAX_CERTIFICATE_BYTES = 2 * 1024;
export const MAX_STATEMENT_BYTES = 1 + MAX_CERTIFICATE_BYTES;

const KEY_BYTES = 32;
const SIGNATURE_BYTES = 64;
const REVOCATION_LABEL = Buffer.from('starlane revocation 1\n');
const SUCCESSION_LABEL = Buffer.from('starlane succession 1\n');

/** An authority takes the membership of a key, for good. */
export interface Revocation {
  readonly authority: Uint8Array;
  readonly publicKey: Uint8Array;
  readonly madeAtS: number;
  /** When every certificate of the key has expired, so that nobody needs the revocation any more. */
  readonly untilS: number;
}

/** An authority names the next one. */
export interface Succession {
  readonly authority: Uint8Array;
  readonly next: Uint8Array;
  readonly madeAtS: number;
  /** Until then, certificates of both hold. */
  readonly untilS: number;
}

/** A statement that has been read. Its signatures are unchecked. */
export type Statement =
  | { readonly kind: typeof StatementKind.CERTIFICATE; readonly certificate: Buffer }
  | ({
      readonly kind: typeof StatementKind.REVOCATION;
      readonly signed: Buffer;
      readonly signature: Buffer;
    } & Revocation)
  | ({
      readonly kind: typeof StatementKind.SUCCESSION;
      readonly signed: Buffer;
      readonly signature: Buffer;
      readonly nextSignature: Buffer;
    } & Succession);

type Signer = (bytes: Uint8Array) => Uint8Array;

export function encodeCertificateStatement(certificate: Uint8Array): Buffer {
  if (certificate.length > MAX_CERTIFICATE_BYTES) throw malformed(`a certificate of ${certificate.length} bytes`);
  return Buffer.concat([uint(1, StatementKind.CERTIFICATE, 'kind'), certificate]);
}

/** @throws StarlaneError ERR_STARLANE_MESSAGE when a field does not fit */
export function encodeRevocation({ authority, publicKey, madeAtS, untilS }: Revocation, sign: Signer): Buffer {
  const fields = [
    exactly(KEY_BYTES, authority, 'authority key'),
    exactly(KEY_BYTES, publicKey, 'key'),
    uint(4, madeAtS, 'time'),
    uint(4, untilS, 'end'),
  ];
  const signature = sign(Buffer.concat([REVOCATION_LABEL, ...fields]));
  return Buffer.concat([uint(1, StatementKind.REVOCATION, 'kind'), ...fields, signature]);
}

/** @throws StarlaneError ERR_STARLANE_MESSAGE when a field does not fit */
export function encodeSuccession(
  { authority, next, madeAtS, untilS }: Succession,
  sign: Signer,
  signAsNext: Signer,
): Buffer {
  const fields = [
    exactly(KEY_BYTES, authority, 'authority key'),
    exactly(KEY_BYTES, next, 'next key'),
    uint(4, madeAtS, 'time'),
    uint(4, untilS, 'end'),
  ];
  const signed = Buffer.concat([SUCCESSION_LABEL, ...fields]);
  return Buffer.concat([uint(1, StatementKind.SUCCESSION, 'kind'), ...fields, sign(signed), signAsNext(signed)]);
}

/**
 * Reads a statement, which keeps nothing of `bytes`. Returns undefined for a kind of a later version.
 * @throws StarlaneError ERR_STARLANE_MESSAGE when it is malformed
 */
export function decodeStatement(bytes: Uint8Array): Statement | undefined {
  if (bytes.length > MAX_STATEMENT_BYTES) throw malformed(`a statement of ${bytes.length} bytes`);
  const fields = new FieldReader(bytes);
  const kind = fields.uint(1);
  switch (kind) {
    case StatementKind.CERTIFICATE:
      return { kind, certificate: fields.copy(fields.left) };
    case StatementKind.REVOCATION: {
      const body = readBody(fields);
      const signature = fields.copy(SIGNATURE_BYTES);
      endOf(fields);
      const { authority, second: publicKey, madeAtS, untilS } = body;
      return { kind, authority, publicKey, madeAtS, untilS, signed: signedPart(REVOCATION_LABEL, bytes), signature };
    }
    case StatementKind.SUCCESSION: {
      const body = readBody(fields);
      const [signature, nextSignature] = [fields.copy(SIGNATURE_BYTES), fields.copy(SIGNATURE_BYTES)];
      endOf(fields);
      const { authority, second: next, madeAtS, untilS } = body;
      const signed = signedPart(SUCCESSION_LABEL, bytes);
      return { kind, authority, next, madeAtS, untilS, signed, signature, nextSignature };
    }
    default:
      return undefined;
  }
}

interface Body {
  readonly authority: Buffer;
  readonly second: Buffer;
  readonly madeAtS: number;
  readonly untilS: number;
}

function readBody(fields: FieldReader): Body {
  const authority = fields.copy(KEY_BYTES);
  const second = fields.copy(KEY_BYTES);
  const madeAtS = fields.uint(4);
  const untilS = fields.uint(4);
  if (untilS < madeAtS) throw malformed('a statement that ends before it begins');
  return { authority, second, madeAtS, untilS };
}

function signedPart(label: Buffer, bytes: Uint8Array): Buffer {
  return Buffer.concat([label, bytes.subarray(1, 1 + 2 * KEY_BYTES + 8)]);
}

function endOf(fields: FieldReader): void {
  if (fields.left > 0) throw malformed('bytes behind a statement');
}
