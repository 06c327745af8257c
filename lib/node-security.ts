// What a node brings to its links and circuits so that others can tell that it belongs to them.

import { starlaneError } from './errors.js';
import type { OwnIdentity } from './link/identity.js';
import type { LinkMeans } from './link/link-set-owner.js';
import { LinkTls } from './link/link-tls.js';
import { networkKeyOf } from './link/network-key.js';
import type { ResolvedNodeOptions } from './options.js';
import { STRONG_SECRET_BYTES, secretBytes } from './options-security.js';

/**
 * The key of the network and the certificates.
 * @throws ERR_STARLANE_OPTION when certificate and key do not fit each other
 */
export function createMeans(secret: unknown, { tls }: ResolvedNodeOptions, identity: OwnIdentity): LinkMeans {
  const networkKey = networkKeyOf(secretBytes(secret));
  const hasTls = tls !== undefined || networkKey !== undefined;
  return { networkKey, tls: hasTls ? new LinkTls(tls, identity) : undefined };
}

/** What its user should know about a secret. */
export function secretWarning(secret: unknown): Error | undefined {
  const bytes = secretBytes(secret)?.length ?? STRONG_SECRET_BYTES;
  if (bytes >= STRONG_SECRET_BYTES) return undefined;
  return starlaneError('ERR_STARLANE_WEAK_SECRET', `${bytes} bytes instead of ${STRONG_SECRET_BYTES} or more`);
}
