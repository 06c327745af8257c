// The keys of a network, one for each of its secrets. Whoever has one is a member; it is never sent, logged or shown.

import { createHash, scryptSync } from 'node:crypto';
import { RecentMap } from '../util/recent-map.js';
import { INSPECT } from '../util/runtime/shown.js';

export const NETWORK_KEY_BYTES = 32;

const SALT = 'starlane network 1';
/** What a guess costs: about 16 MiB and 40 ms, once a secret and process. */
const COST = { N: 16_384, r: 8, p: 1 };

/** How many secrets a process remembers the key of; the oldest goes first. */
const MAX_KEYS = 64;

/** By the hash of the secret, so that the secrets themselves are not kept a second time. */
const known = new RecentMap<string, Buffer>(MAX_KEYS);

/** The key of the network with this secret: 32 bytes. */
export function networkKeyOf(secret: Uint8Array): Buffer {
  const hash = createHash('sha256').update(secret).digest('base64');
  let key = known.peek(hash);
  if (key === undefined) {
    key = unseen(scryptSync(secret, SALT, NETWORK_KEY_BYTES, COST));
    known.set(hash, key);
  }
  return key;
}

/** A key that does not show up when an object that leads to it is printed. */
function unseen(key: Buffer): Buffer {
  const show = () => '<network key>';
  return Object.defineProperties(key, { [INSPECT]: { value: show }, toJSON: { value: show } });
}
