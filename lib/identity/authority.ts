// The authority of a network: the key that certifies its members, and takes their membership again. It needs no network: a program that
// can read its file can issue certificates.

import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { closeSync, fsyncSync, openSync, writeFileSync } from 'node:fs';
import { codeOf, starlaneError } from '../errors.js';
import { dateNow } from '../util/runtime/real-timers.js';
import { INSPECT } from '../util/runtime/shown.js';
import { encodeRevocation, encodeSuccession } from '../wire/statements.js';
import { encodeCertificate, pemOf } from './der.js';
import { readPrivateFile } from './identity.js';
import {
  ALL_RIGHTS,
  authorityName,
  type CertificateSigner,
  issueCertificate,
  keyIdOf,
  type MemberRights,
  networkIdOf,
  rawKeyOf,
} from './member-certificate.js';
import { publicKeyFrom } from './signatures.js';

const DAY_MS = 86_400_000;
export const DEFAULT_LIFETIME_MS = 30 * DAY_MS;
/** A member that has not renewed for so long counts as gone. */
export const MAX_LIFETIME_MS = 397 * DAY_MS;
/** A certificate also holds for clocks that are so much behind. */
export const CLOCK_TOLERANCE_MS = 5 * 60_000;

const SIGNATURE_BYTES = 64;
/** An authority has no end of its own: its successor ends it. */
const NOT_BEFORE_MS = Date.UTC(2020, 0, 1);

/** What to certify. */
export interface IssueRequest {
  /** Raw Ed25519, 32 bytes. */
  readonly publicKey: Uint8Array;
  /** 1 to 64 bytes. */
  readonly name: string;
  /** Up to 16. Default none. */
  readonly tags?: readonly string[] | undefined;
  /** Default: relay, and offer any service; not issue. */
  readonly rights?: Partial<MemberRights> | undefined;
  /** In ms, up to 397 days. Default 30 days. */
  readonly lifetimeMs?: number | undefined;
}

/** The key of an authority. Made by {@link createAuthority} or {@link openAuthority}. */
export class Authority implements CertificateSigner {
  /** Raw Ed25519, 32 bytes. */
  readonly publicKey: Uint8Array;
  /** Follows from the key: 22 characters of base64url. */
  readonly networkId: string;
  // Not `private`: it must not show up when an authority is printed.
  readonly #key: KeyObject;

  /** @internal */
  constructor(key: KeyObject) {
    this.#key = key;
    this.publicKey = rawKeyOf(createPublicKey(key)) as Buffer;
    this.networkId = networkIdOf(this.publicKey);
  }

  /** The certificate of the authority itself, in DER: always the same for one key. */
  get certificate(): Buffer {
    return encodeAuthority(this.publicKey, (bytes) => this.sign(bytes));
  }

  /** The same in PEM. */
  get certificatePem(): string {
    return pemOf(this.certificate);
  }

  /** Returns the certificate of a member, in DER, valid from now on. @throws ERR_STARLANE_ARGUMENT when a field does not fit */
  issue(
    { publicKey, name, tags = [], rights = {}, lifetimeMs = DEFAULT_LIFETIME_MS }: IssueRequest,
    nowMs = dateNow(),
  ): Buffer {
    if (!(Number.isFinite(lifetimeMs) && lifetimeMs > 0 && lifetimeMs <= MAX_LIFETIME_MS)) {
      throw starlaneError('ERR_STARLANE_ARGUMENT', 'the lifetime of a certificate goes up to 397 days');
    }
    const { relay = ALL_RIGHTS.relay, offer = ALL_RIGHTS.offer, issue = false } = rights;
    return issueCertificate(
      {
        publicKey,
        name,
        tags,
        rights: { relay, offer, issue },
        // In whole seconds. Earlier than now, or tls would refuse it on a machine whose clock is a little behind.
        notBeforeMs: Math.floor((nowMs - CLOCK_TOLERANCE_MS) / 1000) * 1000,
        notAfterMs: Math.ceil((nowMs + lifetimeMs) / 1000) * 1000,
      },
      this,
    );
  }

  /** Returns the revocation of a key, a statement for all members. It is kept until `untilMs`, when all certificates of the key have expired. */
  revoke(publicKey: Uint8Array, untilMs: number, nowMs = dateNow()): Buffer {
    return encodeRevocation(
      { authority: this.publicKey, publicKey, madeAtS: Math.floor(nowMs / 1000), untilS: Math.ceil(untilMs / 1000) },
      (bytes) => this.sign(bytes),
    );
  }

  /** Returns the statement that `next` takes over from this authority; certificates of both hold until `untilMs`. */
  succeed(next: Authority, untilMs: number, nowMs = dateNow()): Buffer {
    return encodeSuccession(
      {
        authority: this.publicKey,
        next: next.publicKey,
        madeAtS: Math.floor(nowMs / 1000),
        untilS: Math.ceil(untilMs / 1000),
      },
      (bytes) => this.sign(bytes),
      (bytes) => next.sign(bytes),
    );
  }

  /** Returns the Ed25519 signature of these bytes. */
  sign(bytes: Uint8Array): Uint8Array {
    return sign(null, bytes, this.#key);
  }

  /** @internal */
  [INSPECT](): string {
    return `Authority { networkId: '${this.networkId}' }`;
  }
}

/**
 * Returns the certificate that tls trusts for the authority with this key. It is that of the authority itself, but for the signature, which
 * only the authority could make, and which nobody checks on what he trusts anyway.
 */
export function trustAnchor(publicKey: Uint8Array): Buffer {
  return encodeAuthority(publicKey, () => Buffer.alloc(SIGNATURE_BYTES));
}

function encodeAuthority(publicKey: Uint8Array, sign: (bytes: Buffer) => Uint8Array): Buffer {
  const name = authorityName(publicKey);
  return encodeCertificate(
    {
      serial: [1],
      issuer: name,
      subject: name,
      notBeforeMs: NOT_BEFORE_MS,
      notAfterMs: Number.POSITIVE_INFINITY,
      publicKey: publicKeyFrom(publicKey).export({ format: 'der', type: 'spki' }),
      isAuthority: true,
      uris: [],
      keyId: keyIdOf(publicKey),
    },
    sign,
  );
}

/** Makes an authority, and its file with mode 0600. @throws ERR_STARLANE_AUTHORITY when the file is there already or cannot be written */
export function createAuthority(path: string): Authority {
  const { privateKey } = generateKeyPairSync('ed25519');
  try {
    const file = openSync(path, 'wx', 0o600);
    try {
      writeFileSync(file, privateKey.export({ type: 'pkcs8', format: 'pem' }));
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
  } catch (error) {
    const reason = codeOf(error) === 'EEXIST' ? 'is there already, and is not overwritten' : 'cannot be written';
    throw starlaneError('ERR_STARLANE_AUTHORITY', `${path} ${reason}`, error);
  }
  return new Authority(privateKey);
}

/** Reads the file of an authority. @throws ERR_STARLANE_AUTHORITY when it is missing, damaged, or others than its owner may read it */
export function openAuthority(path: string): Authority {
  let key: KeyObject;
  try {
    key = createPrivateKey(readPrivateFile(path));
  } catch (error) {
    const reason = codeOf(error) === 'ENOENT' ? 'is missing' : (error as Error).message;
    throw starlaneError('ERR_STARLANE_AUTHORITY', `${path}: ${reason}`, error);
  }
  if (key.asymmetricKeyType !== 'ed25519')
    throw starlaneError('ERR_STARLANE_AUTHORITY', `${path}: not a key of Ed25519`);
  return new Authority(key);
}
