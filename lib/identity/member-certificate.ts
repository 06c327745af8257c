// The certificate of a member: X.509, signed by the authority of the network over the key of the node.
//
// It says who the member is and what it may do, in names that any tool for certificates shows:
//
//   common name       the name that people gave it
//   starlane:node:    its node id, which follows from the key
//   starlane:tag:     a tag, for rules; any number
//   starlane:right:   `relay`, `issue`, or `offer:` with a pattern of names of services; any number
//
// What follows `tag:` and `offer:` is percent-encoded. Unknown names are of later versions, and give no right.

import { createHash, type KeyObject, randomBytes, X509Certificate } from 'node:crypto';
import { type NodeId, nodeIdFromPublicKey } from '../address.js';
import { StarlaneError, starlaneError } from '../errors.js';
import { RecentMap } from '../util/recent-map.js';
import { MAX_CERTIFICATE_BYTES } from '../wire/statements.js';
import { encodeCertificate } from './der.js';
import { rawPublicKey } from './raw-key.js';
import { publicKeyFrom } from './signatures.js';

/** What a member may do, besides dialling. */
export interface MemberRights {
  /** Circuits of others may pass through it. */
  readonly relay: boolean;
  /** Names of services that it may offer; `*` matches any run of characters. */
  readonly offer: readonly string[];
  /** It may have the key of the authority, and then issues certificates. */
  readonly issue: boolean;
}

export const ALL_RIGHTS: MemberRights = Object.freeze({ relay: true, offer: Object.freeze(['*']), issue: true });

/** What a certificate says of its member. */
export interface MemberContent {
  /** Raw Ed25519, 32 bytes. */
  readonly publicKey: Uint8Array;
  /** For people and rules: 1 to 64 bytes. */
  readonly name: string;
  readonly tags: readonly string[];
  readonly rights: MemberRights;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/** A member, as its certificate describes it. Whether it is valid now is for {@link MemberBook} to say. */
export interface Member extends MemberContent {
  readonly nodeId: NodeId;
  /** The certificate, in DER. */
  readonly der: Buffer;
  /** The raw key of the authority that signed it. */
  readonly authority: Uint8Array;
}

/** Signs certificates. */
export interface CertificateSigner {
  /** Raw Ed25519, 32 bytes. */
  readonly publicKey: Uint8Array;
  sign(bytes: Uint8Array): Uint8Array;
}

const MAX_NAME_BYTES = 64;
const MAX_TAGS = 16;
const MAX_OFFERS = 16;
const MAX_TAG_BYTES = 64;
const MAX_OFFER_BYTES = 255;
const SERIAL_BYTES = 16;
const SIGNATURE_BYTES = 64;
/** In front of the signature: the algorithm Ed25519, and a BIT STRING without unused bits. */
const ENDING = Buffer.from('300506032b6570034100', 'hex');
const KEY_ID_BYTES = 20;
const NETWORK_ID_BYTES = 16;

const NODE = 'starlane:node:';
const TAG = 'starlane:tag:';
const OFFER = 'starlane:right:offer:';
const RELAY = 'starlane:right:relay';
const ISSUE = 'starlane:right:issue';

/** Control characters would make a mess of tables and logs. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u;

/** Returns the id of the network with this authority: the first 16 bytes of the SHA-256 of its key, as 22 characters of base64url. */
export function networkIdOf(authority: Uint8Array): string {
  return createHash('sha256').update(authority).digest().subarray(0, NETWORK_ID_BYTES).toString('base64url');
}

/** Returns the common name of an authority. */
export function authorityName(authority: Uint8Array): string {
  return `Starlane network ${networkIdOf(authority)}`;
}

/** The key identifier of RFC 7093, section 2, method 1. */
export function keyIdOf(publicKey: Uint8Array): Buffer {
  return createHash('sha256').update(publicKey).digest().subarray(0, KEY_ID_BYTES);
}

/** Returns what is wrong with a name; undefined when nothing is. */
export function nameFault(name: unknown): string | undefined {
  if (typeof name !== 'string') return 'must be a string';
  if (name.trim() !== name || name === '') return 'must not be empty, nor begin or end with a space';
  if (Buffer.byteLength(name) > MAX_NAME_BYTES) return `must have at most ${MAX_NAME_BYTES} bytes`;
  if (UNPRINTABLE.test(name) || !isWellFormed(name)) return 'must not have control characters';
  return undefined;
}

/** Returns what is wrong with the tags; undefined when nothing is. */
export function tagsFault(tags: readonly unknown[]): string | undefined {
  return listFault(tags, MAX_TAGS, MAX_TAG_BYTES);
}

/** Returns what is wrong with patterns of services; undefined when nothing is. */
export function offersFault(offers: readonly unknown[]): string | undefined {
  return listFault(offers, MAX_OFFERS, MAX_OFFER_BYTES);
}

function listFault(list: readonly unknown[], max: number, maxBytes: number): string | undefined {
  if (list.length > max) return `must be at most ${max}`;
  for (const text of list) {
    if (typeof text !== 'string' || text === '' || UNPRINTABLE.test(text) || !isWellFormed(text)) {
      return 'must be texts without control characters';
    }
    if (Buffer.byteLength(text) > maxBytes) return `must have at most ${maxBytes} bytes each`;
  }
  return undefined;
}

/** Returns whether a text has no lone surrogates, which UTF-8 cannot carry. */
function isWellFormed(text: string): boolean {
  return Buffer.from(text).toString() === text;
}

/** Returns a certificate in DER. @throws ERR_STARLANE_ARGUMENT when a part does not fit */
export function issueCertificate(content: MemberContent, authority: CertificateSigner): Buffer {
  const { publicKey, name, tags, rights, notBeforeMs, notAfterMs } = content;
  const fault = nameFault(name) ?? tagsFault(tags) ?? offersFault(rights.offer);
  if (fault !== undefined)
    throw starlaneError('ERR_STARLANE_ARGUMENT', `the name, tags or rights of a member: ${fault}`);
  const serial = randomBytes(SERIAL_BYTES);
  // Positive, and never shorter than its bytes.
  serial[0] = (serial[0] & 0x7f) | 0x40;
  const certificate = encodeCertificate(
    {
      serial,
      issuer: authorityName(authority.publicKey),
      subject: name,
      notBeforeMs,
      notAfterMs,
      publicKey: publicKeyFrom(publicKey).export({ format: 'der', type: 'spki' }),
      isAuthority: false,
      uris: [
        `${NODE}${nodeIdFromPublicKey(publicKey)}`,
        ...tags.map((tag) => TAG + encodeURIComponent(tag)),
        ...(rights.relay ? [RELAY] : []),
        ...(rights.issue ? [ISSUE] : []),
        ...rights.offer.map((pattern) => OFFER + encodeURIComponent(pattern)),
      ],
      keyId: keyIdOf(publicKey),
      authorityKeyId: keyIdOf(authority.publicKey),
    },
    (bytes) => authority.sign(bytes),
  );
  if (certificate.length > MAX_CERTIFICATE_BYTES) {
    const what = `tags and rights make a certificate of ${certificate.length} bytes; ${MAX_CERTIFICATE_BYTES} are possible`;
    throw starlaneError('ERR_STARLANE_ARGUMENT', what);
  }
  return certificate;
}

/** Certificates that this process has read and checked; nodes of one process share them. */
const MAX_KNOWN = 16_384;
const known = new RecentMap<string, WeakRef<Member>>(MAX_KNOWN);

/**
 * Reads the certificate of a member, and checks that one of these authorities has signed it; not whether it is valid now.
 * @throws ERR_STARLANE_CERTIFICATE
 */
export function readCertificate(der: Uint8Array, authorities: Iterable<Uint8Array>): Member {
  if (der.length > MAX_CERTIFICATE_BYTES) throw invalid(`it has ${der.length} bytes`);
  const hash = createHash('sha256').update(der).digest('base64');
  const found = known.peek(hash)?.deref();
  if (found !== undefined) {
    for (const authority of authorities) if (Buffer.compare(authority, found.authority) === 0) return found;
    throw new UnknownAuthorityError();
  }
  let member: Member;
  try {
    member = parse(der, authorities);
  } catch (error) {
    // A key that OpenSSL does not know, for one.
    throw error instanceof StarlaneError ? error : invalid('it is malformed', error);
  }
  known.set(hash, new WeakRef(member));
  return member;
}

function parse(der: Uint8Array, authorities: Iterable<Uint8Array>): Member {
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(Buffer.from(der));
  } catch (error) {
    throw invalid('it is malformed', error);
  }
  // Bytes behind the certificate would be a second form of it.
  if (certificate.raw.length !== der.length) throw invalid('bytes follow it');
  // So would be unused bits of the signature, or parameters of its algorithm.
  if (Buffer.compare(der.subarray(-ENDING.length - SIGNATURE_BYTES, -SIGNATURE_BYTES), ENDING) !== 0) {
    throw invalid('its signature is not of Ed25519');
  }
  const authority = signerOf(certificate, authorities);
  if (authority === undefined) {
    for (const one of authorities) {
      if (certificate.issuer === `CN=${authorityName(one)}`)
        throw invalid('the authority that it names has not signed it');
    }
    throw new UnknownAuthorityError();
  }
  if (certificate.ca) throw invalid('it is that of an authority');
  const publicKey = rawKeyOf(certificate.publicKey);
  if (publicKey === undefined) throw invalid('its key is not of Ed25519');
  const name = commonNameIn(certificate.subject);
  if (name === undefined || nameFault(name) !== undefined) throw invalid('its name is missing or cannot be shown');
  const { nodeId, ...rest } = readUris(certificate.subjectAltName ?? '');
  if (nodeId !== nodeIdFromPublicKey(publicKey)) throw invalid('its node id does not follow from its key');
  const [notBeforeMs, notAfterMs] = [Date.parse(certificate.validFrom), Date.parse(certificate.validTo)];
  if (!(notBeforeMs < notAfterMs)) throw invalid('its dates are malformed');
  return { nodeId, publicKey, name, ...rest, notBeforeMs, notAfterMs, der: certificate.raw, authority };
}

function signerOf(certificate: X509Certificate, authorities: Iterable<Uint8Array>): Uint8Array | undefined {
  for (const authority of authorities) {
    if (certificate.verify(publicKeyFrom(authority))) return authority;
  }
  return undefined;
}

/** Returns the 32 bytes of a key; undefined when it is not of Ed25519. */
export function rawKeyOf(key: KeyObject): Buffer | undefined {
  if (key.asymmetricKeyType !== 'ed25519') return undefined;
  return rawPublicKey(key);
}

/**
 * Returns the common name in a subject, as Node prints it: `CN=` and the name, with the escapes of RFC 2253; undefined when there is
 * anything else in it. `toLegacyObject()` would have it as it is, but where node:tls is not loaded yet, that breaks node:tls: see
 * docs/internals-of-node.md.
 */
function commonNameIn(subject: string): string | undefined {
  if (!subject.startsWith('CN=') || subject.includes('\n')) return undefined;
  return subject
    .slice('CN='.length)
    .replace(/\\([0-9A-F]{2}|.)/g, (_, escaped: string) =>
      escaped.length === 1 ? escaped : String.fromCharCode(Number.parseInt(escaped, 16)),
    );
}

interface Named {
  readonly nodeId: NodeId | undefined;
  readonly tags: readonly string[];
  readonly rights: MemberRights;
}

/** Reads `URI:starlane:node:…, URI:starlane:tag:…`, as Node prints alternative names. It quotes those with a comma, which none has here. */
function readUris(names: string): Named {
  let nodeId: NodeId | undefined;
  const tags: string[] = [];
  const offer: string[] = [];
  let relay = false;
  let issue = false;
  for (const entry of names.split(', ')) {
    if (!entry.startsWith('URI:')) continue;
    const uri = entry.slice('URI:'.length);
    if (uri.startsWith(NODE)) nodeId ??= uri.slice(NODE.length);
    else if (uri.startsWith(TAG)) tags.push(decoded(uri.slice(TAG.length)));
    else if (uri.startsWith(OFFER)) offer.push(decoded(uri.slice(OFFER.length)));
    else if (uri === RELAY) relay = true;
    else if (uri === ISSUE) issue = true;
  }
  if (tagsFault(tags) !== undefined || offersFault(offer) !== undefined)
    throw invalid('its tags or rights are malformed');
  return { nodeId, tags, rights: { relay, offer, issue } };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    throw invalid('its tags or rights are malformed', error);
  }
}

function invalid(reason: string, cause?: unknown): StarlaneError {
  return starlaneError('ERR_STARLANE_CERTIFICATE', reason, cause);
}

/** No authority that is trusted has signed a certificate; another one may have. */
export class UnknownAuthorityError extends StarlaneError {
  constructor() {
    super('ERR_STARLANE_CERTIFICATE', invalid('no authority of this network has signed it').message);
  }
}
