// The options that say who belongs to a node: the secret of a network, and certificates of an own PKI.

import { optionError } from '../errors.js';

/** A certificate and key of an own PKI, in PEM, as node:tls takes them. */
export interface TlsFiles {
  readonly cert: string | Buffer;
  readonly key: string | Buffer;
  /**
   * Who may sign the certificates of peers. Default: the authorities that Node trusts, and then everybody to whom one of them has
   * given a certificate is a peer, unless there is a secret as well.
   */
  readonly ca?: string | Buffer | ReadonlyArray<string | Buffer> | undefined;
}

export const MAX_SECRET_BYTES = 1024;

/** What has fewer bytes than a random 128-bit number can be guessed from one recorded handshake: it gets a warning. */
export const STRONG_SECRET_BYTES = 16;

/** The bytes of a secret: a copy, as UTF-8 when it is text. @throws ERR_STARLANE_OPTION */
export function secretBytes(secret: unknown, name = 'secret'): Buffer | undefined {
  if (secret === undefined) return undefined;
  if (typeof secret !== 'string' && !(secret instanceof Uint8Array)) {
    throw optionError(name, 'must be a string or Uint8Array');
  }
  const bytes = Buffer.from(secret as string);
  if (bytes.length === 0 || bytes.length > MAX_SECRET_BYTES) {
    throw optionError(name, `it has ${bytes.length} bytes instead of 1 to ${MAX_SECRET_BYTES}`);
  }
  return bytes;
}

/** How many secrets a network may have at a time, while one takes the place of another. */
export const MAX_SECRETS = 4;

/** The bytes of one secret or a list of them, without repetitions; none where there is no secret. @throws ERR_STARLANE_OPTION */
export function secretList(secret: unknown): Buffer[] {
  if (secret === undefined) return [];
  if (!Array.isArray(secret)) return [secretBytes(secret) as Buffer];
  if (secret.length === 0 || secret.length > MAX_SECRETS) {
    throw optionError('secret', `${secret.length} secrets instead of 1 to ${MAX_SECRETS}`);
  }
  const list: Buffer[] = [];
  for (const [index, one] of secret.entries()) {
    const bytes = secretBytes(one, `secret[${index}]`);
    if (bytes === undefined) throw optionError(`secret[${index}]`, 'must be a string or Uint8Array');
    if (!list.some((known) => known.equals(bytes))) list.push(bytes);
  }
  return list;
}

/** Checks `{ cert, key, ca }`, and not yet whether they fit each other. @throws ERR_STARLANE_OPTION */
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
