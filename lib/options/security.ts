// The options that decide who belongs to the network of a node: its secret, and certificates of your own PKI.

import { optionError } from '../errors.js';

/** A certificate and key of your own PKI, in PEM, as node:tls takes them. */
export interface TlsFiles {
  readonly cert: string | Buffer;
  readonly key: string | Buffer;
  /**
   * The authorities that may sign the certificates of peers. Default: those that Node trusts, and then everybody with a certificate from
   * one of them is a peer, unless there is a secret as well.
   */
  readonly ca?: string | Buffer | ReadonlyArray<string | Buffer> | undefined;
}

const MAX_SECRET_BYTES = 1024;

/** A secret with fewer bytes than a random 128-bit number can be guessed from one recorded handshake: it gets a warning. */
export const STRONG_SECRET_BYTES = 16;

/** Returns a copy of the bytes of a secret, in UTF-8 when it is text. @throws ERR_STARLANE_OPTION */
export function secretBytes(secret: unknown, name = 'secret'): Buffer | undefined {
  if (secret === undefined) return undefined;
  if (typeof secret !== 'string' && !(secret instanceof Uint8Array)) {
    throw optionError(name, 'must be a string or Uint8Array');
  }
  const bytes = Buffer.from(secret as string);
  if (bytes.length === 0 || bytes.length > MAX_SECRET_BYTES) {
    throw optionError(name, `must have 1 to ${MAX_SECRET_BYTES} bytes, not ${bytes.length}`);
  }
  return bytes;
}

/** How many secrets a network may have at a time, while one replaces another. */
const MAX_SECRETS = 4;

/** Returns the bytes of each secret, without repetitions; none when there is no secret. @throws ERR_STARLANE_OPTION */
export function secretList(secret: unknown): Buffer[] {
  if (secret === undefined) return [];
  if (!Array.isArray(secret)) return [secretBytes(secret) as Buffer];
  if (secret.length === 0 || secret.length > MAX_SECRETS) {
    throw optionError('secret', `must be 1 to ${MAX_SECRETS} secrets, not ${secret.length}`);
  }
  const list: Buffer[] = [];
  for (const [index, one] of secret.entries()) {
    const bytes = secretBytes(one, `secret[${index}]`);
    if (bytes === undefined) throw optionError(`secret[${index}]`, 'must be a string or Uint8Array');
    if (!list.some((known) => known.equals(bytes))) list.push(bytes);
  }
  return list;
}

/** Checks the form of `{ cert, key, ca }`, but not whether they belong together. @throws ERR_STARLANE_OPTION */
export function resolveTls(tls: unknown): Readonly<TlsFiles> | undefined {
  if (tls === undefined) return undefined;
  if (typeof tls !== 'object' || tls === null || Array.isArray(tls))
    throw optionError('tls', 'must be { cert, key, ca }');
  for (const name of Object.keys(tls)) {
    if (name !== 'cert' && name !== 'key' && name !== 'ca') throw optionError(`tls.${name}`, 'unknown option');
  }
  const { cert, key, ca } = tls as Partial<TlsFiles>;
  if (!isPem(cert)) throw optionError('tls.cert', 'must be a string or Buffer of PEM');
  if (!isPem(key)) throw optionError('tls.key', 'must be a string or Buffer of PEM');
  if (ca !== undefined && !(Array.isArray(ca) ? ca.length > 0 && ca.every(isPem) : isPem(ca))) {
    throw optionError('tls.ca', 'must be a string or Buffer of PEM, or a list of them');
  }
  return Object.freeze({ cert, key, ca });
}

function isPem(value: unknown): value is string | Buffer {
  return (typeof value === 'string' || Buffer.isBuffer(value)) && value.length > 0;
}
