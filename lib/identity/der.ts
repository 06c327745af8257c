// Writes DER (ITU-T X.690), as far as certificates need it.
//
// The certificates here always have the same form. A package for certificates took 110 ms and 2.7 MiB of heap, which made V8 mark the
// heap of a small program over and over. Specs compare the bytes with those of that package, and have OpenSSL read them.

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
  /** Context tags of the fields of a certificate and its extensions (RFC 5280, sections 4.1 and 4.2.1). */
  KEY_ID: 0x80,
  URI: 0x86,
  VERSION: 0xa0,
  EXTENSIONS: 0xa3,
} as const;

/** Object ids, encoded. */
const ObjectId = {
  ED25519: [0x2b, 0x65, 0x70],
  COMMON_NAME: [0x55, 0x04, 0x03],
  SUBJECT_KEY_ID: [0x55, 0x1d, 0x0e],
  KEY_USAGE: [0x55, 0x1d, 0x0f],
  ALTERNATIVE_NAME: [0x55, 0x1d, 0x11],
  BASIC_CONSTRAINTS: [0x55, 0x1d, 0x13],
  AUTHORITY_KEY_ID: [0x55, 0x1d, 0x23],
} as const;

/** Bits of the key usage, with the number of unused bits in front. */
const DIGITAL_SIGNATURE = [7, 0x80];
const SIGNS_CERTIFICATES = [1, 0x06];

/** The characters of a PrintableString that names here may have; the underscore of node ids is not among them. */
const PRINTABLE = /^[A-Za-z0-9-]*$/;
const PEM_LINE = /.{1,64}/g;
/** From this year on, times need the longer form (RFC 5280, section 4.1.2.5). */
const FIRST_LONG_YEAR = 2050;
/** RFC 5280, section 4.1.2.5: no well-defined end. */
const NO_END = '99991231235959Z';

type Bytes = Uint8Array | readonly number[];

/** What a certificate says. All keys are of Ed25519. */
export interface CertificateContent {
  readonly serial: Bytes;
  /** Common names. */
  readonly issuer: string;
  readonly subject: string;
  readonly notBeforeMs: number;
  /** Infinity: no end. */
  readonly notAfterMs: number;
  /** SubjectPublicKeyInfo, in DER. */
  readonly publicKey: Uint8Array;
  /** Whether the key may sign certificates. */
  readonly isAuthority: boolean;
  /** Subject alternative names; none: left out. */
  readonly uris: readonly string[];
  /** Key identifiers of 20 bytes; none: left out. */
  readonly keyId?: Uint8Array;
  readonly authorityKeyId?: Uint8Array;
}

/** Returns a certificate in DER; `sign` signs with the Ed25519 key of the issuer. */
export function encodeCertificate(content: CertificateContent, sign: (bytes: Buffer) => Uint8Array): Buffer {
  const { isAuthority, keyId, authorityKeyId, uris } = content;
  const algorithm = sequence(objectId(ObjectId.ED25519));
  const extensions = [
    extension(
      ObjectId.BASIC_CONSTRAINTS,
      true,
      isAuthority ? sequence(der(Tag.BOOLEAN, [0xff]), integer([0])) : sequence(),
    ),
    extension(ObjectId.KEY_USAGE, true, der(Tag.BIT_STRING, isAuthority ? SIGNS_CERTIFICATES : DIGITAL_SIGNATURE)),
  ];
  if (keyId !== undefined) extensions.push(extension(ObjectId.SUBJECT_KEY_ID, false, der(Tag.OCTET_STRING, keyId)));
  if (authorityKeyId !== undefined) {
    extensions.push(extension(ObjectId.AUTHORITY_KEY_ID, false, sequence(der(Tag.KEY_ID, authorityKeyId))));
  }
  if (uris.length > 0) {
    const names = uris.map((uri) => der(Tag.URI, Buffer.from(uri, 'latin1')));
    extensions.push(extension(ObjectId.ALTERNATIVE_NAME, false, sequence(...names)));
  }
  const body = sequence(
    der(Tag.VERSION, integer([2])), // version 3
    integer(content.serial),
    algorithm,
    commonName(content.issuer),
    sequence(time(content.notBeforeMs), time(content.notAfterMs)),
    commonName(content.subject),
    content.publicKey,
    der(Tag.EXTENSIONS, sequence(...extensions)),
  );
  return sequence(body, algorithm, der(Tag.BIT_STRING, [0], sign(body)));
}

/** Returns a certificate in PEM (RFC 7468). */
export function pemOf(certificate: Uint8Array): string {
  const base64 = Buffer.from(certificate).toString('base64');
  return ['-----BEGIN CERTIFICATE-----', ...(base64.match(PEM_LINE) ?? []), '-----END CERTIFICATE-----'].join('\n');
}

function sequence(...parts: readonly Bytes[]): Buffer {
  return der(Tag.SEQUENCE, ...parts);
}

function integer(bytes: Bytes): Buffer {
  return der(Tag.INTEGER, bytes);
}

function objectId(id: readonly number[]): Buffer {
  return der(Tag.OBJECT_ID, id);
}

function commonName(text: string): Buffer {
  const name = der(PRINTABLE.test(text) ? Tag.PRINTABLE_STRING : Tag.UTF8_STRING, Buffer.from(text));
  return sequence(der(Tag.SET, sequence(objectId(ObjectId.COMMON_NAME), name)));
}

function time(ms: number): Buffer {
  if (ms === Number.POSITIVE_INFINITY) return der(Tag.GENERALIZED_TIME, Buffer.from(NO_END));
  const digits = `${new Date(ms).toISOString().replace(/\D/g, '').slice(0, 14)}Z`;
  return Number(digits.slice(0, 4)) < FIRST_LONG_YEAR
    ? der(Tag.UTC_TIME, Buffer.from(digits.slice(2)))
    : der(Tag.GENERALIZED_TIME, Buffer.from(digits));
}

function extension(id: readonly number[], isCritical: boolean, value: Uint8Array): Buffer {
  const flag = isCritical ? [der(Tag.BOOLEAN, [0xff])] : [];
  return sequence(objectId(id), ...flag, der(Tag.OCTET_STRING, value));
}

/** Returns a value with its tag and length. */
function der(tag: number, ...parts: readonly Bytes[]): Buffer {
  const value = Buffer.concat(parts.map((part) => Uint8Array.from(part)));
  const { length } = value;
  // No length here needs more than two bytes.
  const head =
    length < 0x80 ? [tag, length] : length < 0x100 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(head), value]);
}
