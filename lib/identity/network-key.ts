// The keys of a network, one for each of its secrets. A node with one of them is a member. They are never sent, logged or shown.

import { createHash, scryptSync } from 'node:crypto';
import { RecentMap } from '../util/recent-map.js';
import { INSPECT } from '../util/runtime/shown.js';

const NETWORK_KEY_BYTES = 32;

const SALT = 'starlane network 1';
/** The cost of a guess: about 16 MiB and 40 ms, once for each secret in a process. */
const COST = { N: 16_384, r: 8, p: 1 };

/** The number of secrets whose keys a process remembers; the oldest goes first. */
const MAX_KEYS = 64;

/** By the hash of the secret, so that the secrets are not kept a second time. */
const known = new RecentMap<string, Buffer>(MAX_KEYS);

/** Returns the key of the network with this secret: 32 bytes. */
export function networkKeyOf(secret: Uint8Array): Buffer {
  const hash = createHash('sha256').update(secret).digest('base64');
  let key = known.peek(hash);
  if (key === undefined) {
    key = hidden(scryptSync(secret, SALT, NETWORK_KEY_BYTES, COST));
    known.set(hash, key);
  }
  return key;
}

/** Hides a key when an object that refers to it is printed. */
function hidden(key: Buffer): Buffer {
  const show = () => '<network key>';
  return Object.defineProperties(key, { [INSPECT]: { value: show }, toJSON: { value: show } });
}
