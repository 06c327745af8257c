// What a node brings to its links and circuits so that others can tell that it belongs to them.

import { starlaneError } from '../errors.js';
import type { OwnIdentity } from '../identity/identity.js';
import { networkKeyOf } from '../identity/network-key.js';
import type { LinkMeans } from '../link/link-set-owner.js';
import { LinkTls } from '../link/transport/tls.js';
import type { ResolvedNodeOptions } from '../options/options.js';
import { STRONG_SECRET_BYTES, secretList } from '../options/security.js';

/**
 * The keys of the network and the certificates.
 * @throws ERR_STARLANE_OPTION when certificate and key do not fit each other
 */
export function createMeans(secret: unknown, { tls }: ResolvedNodeOptions, identity: OwnIdentity): LinkMeans {
  const networkKeys = secretList(secret).map(networkKeyOf);
  const hasTls = tls !== undefined || networkKeys.length > 0;
  return { networkKeys, tls: hasTls ? new LinkTls(tls, identity) : undefined };
}

/** What its user should know about a secret. */
export function secretWarning(secret: unknown): Error | undefined {
  const bytes = Math.min(STRONG_SECRET_BYTES, ...secretList(secret).map(({ length }) => length));
  if (bytes >= STRONG_SECRET_BYTES) return undefined;
  return starlaneError('ERR_STARLANE_WEAK_SECRET', `${bytes} bytes instead of ${STRONG_SECRET_BYTES} or more`);
}
