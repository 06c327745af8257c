// The certificate that follows from an identity: self-signed, for tls between nodes without a PKI. It contains nothing but the key and
// the node id; the handshake of the link proves who belongs to the network.
//
// Its form is always the same, so its DER (ITU-T X.690) is written here. A package for certificates took 110 ms and 2.7 MiB of heap,
// which made V8 mark the heap of a small program over and over. A spec compares the bytes with those of that package.

import { createPublicKey, sign } from 'node:crypto';
import type { OwnIdentity } from './identity.js';

interface DerivedCertificate {
  readonly cert: string;
  readonly key: string;
}

/** Tags of DER. */
const Tag = {
  BOOLEAN: 0x01,
  INTEGER: 0x02,
  BIT_STRING: 0x03,
  OCTET_STRING: 0x04,
  OBJECT_ID: 0x06,
  UTF8_STRING: 0x0c,
  PRINTABLE_STRING: 0x13,
  UTC_TIME: 0x17,
  GENERALIZED_TIME: 0x18,
  SEQUENCE: 0x30,
  SET: 0x31,
  /** Explicit tags of the fields of a certificate (RFC 5280, section 4.1). */
  VERSION: 0xa0,
  EXTENSIONS: 0xa3,
} as const;

/** Object ids, encoded. */
const ED25519 = [0x2b, 0x65, 0x70];
const COMMON_NAME = [0x55, 0x04, 0x03];
const BASIC_CONSTRAINTS = [0x55, 0x1d, 0x13];
const KEY_USAGE = [0x55, 0x1d, 0x0f];

/** Constant: a certificate is valid as long as its key, and does not show when a node was made. */
const NOT_BEFORE = '200101000000Z';
/** RFC 5280, section 4.1.2.5: no well-defined end. */
const NOT_AFTER = '99991231235959Z';

/** The characters of node ids that a PrintableString may have; the underscore is not among them. */
const PRINTABLE = /^[A-Za-z0-9-]*$/;
const PEM_LINE = /.{1,64}/g;

/** Returns a certificate and its key, in PEM; the common name is the node id. The same identity always gives the same certificate. */
export function deriveCertificate({ nodeId, privateKey }: OwnIdentity): DerivedCertificate {
  const algorithm = der(Tag.SEQUENCE, der(Tag.OBJECT_ID, ED25519));
  const text = der(PRINTABLE.test(nodeId) ? Tag.PRINTABLE_STRING : Tag.UTF8_STRING, Buffer.from(nodeId));
  const name = der(Tag.SEQUENCE, der(Tag.SET, der(Tag.SEQUENCE, der(Tag.OBJECT_ID, COMMON_NAME), text)));
  const validity = der(
    Tag.SEQUENCE,
    der(Tag.UTC_TIME, Buffer.from(NOT_BEFORE)),
    der(Tag.GENERALIZED_TIME, Buffer.from(NOT_AFTER)),
  );
  const content = der(
    Tag.SEQUENCE,
    der(Tag.VERSION, der(Tag.INTEGER, [2])), // version 3
    der(Tag.INTEGER, [1]), // serial number
    algorithm,
    name, // issuer
    validity,
    name, // subject
    createPublicKey(privateKey).export({ format: 'der', type: 'spki' }),
    der(
      Tag.EXTENSIONS,
      der(
        Tag.SEQUENCE,
        criticalExtension(BASIC_CONSTRAINTS, der(Tag.SEQUENCE)), // no authority
        criticalExtension(KEY_USAGE, der(Tag.BIT_STRING, [7, 0x80])), // digital signature
      ),
    ),
  );
  const signature = der(Tag.BIT_STRING, [0], sign(null, content, privateKey));
  const base64 = der(Tag.SEQUENCE, content, algorithm, signature).toString('base64');
  const lines = ['-----BEGIN CERTIFICATE-----', ...(base64.match(PEM_LINE) ?? []), '-----END CERTIFICATE-----'];
  return { cert: lines.join('\n'), key: privateKey.export({ format: 'pem', type: 'pkcs8' }) as string };
}

function criticalExtension(id: readonly number[], value: Uint8Array): Buffer {
  return der(Tag.SEQUENCE, der(Tag.OBJECT_ID, id), der(Tag.BOOLEAN, [0xff]), der(Tag.OCTET_STRING, value));
}

/** Returns a value with its tag and length. */
function der(tag: number, ...parts: ReadonlyArray<Uint8Array | readonly number[]>): Buffer {
  const value = Buffer.concat(parts.map((part) => Uint8Array.from(part)));
  const { length } = value;
  // No length here needs more than two bytes.
  const head =
    length < 0x80 ? [tag, length] : length < 0x100 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(head), value]);
}
