// Which key of the network a secure circuit takes. While one secret takes the place of another, members have several, and two of them
// may share any of theirs: the dialler says in its OPEN which ones it has, and the other end which of them it has taken. Pure.

import { createHmac } from 'node:crypto';
import { starlaneError } from '../../errors.js';
import { KEY_HINT_BYTES } from '../../wire/circuit-proof.js';

const LABEL = 'starlane key hint 1';
const NOTHING = Buffer.alloc(0);

/** What a circuit takes, and what the other end has to be told of it. */
export interface ChosenKey {
  readonly networkKey: Uint8Array | undefined;
  readonly told: Uint8Array;
}

/** By key, as it never changes. */
const hints = new WeakMap<Uint8Array, Buffer>();

function hintOf(key: Uint8Array): Buffer {
  let hint = hints.get(key);
  if (hint === undefined) {
    hint = createHmac('sha256', key).update(LABEL).digest().subarray(0, KEY_HINT_BYTES);
    hints.set(key, hint);
  }
  return hint;
}

/** What the dialler says of its keys. */
export function offeredKeys(keys: readonly Uint8Array[]): Uint8Array {
  return keys.length === 0 ? NOTHING : Buffer.concat([Buffer.from([keys.length]), ...keys.map(hintOf)]);
}

/** The key that the accepting end takes. @throws ERR_STARLANE_SECURE when it has none that the dialler has */
export function chooseKey(offered: Uint8Array, keys: readonly Uint8Array[]): ChosenKey {
  // Without a secret, or of a version that knew of one secret only.
  if (offered.length === 0) return { networkKey: keys[0], told: NOTHING };
  for (const networkKey of keys) {
    const hint = hintOf(networkKey);
    for (let index = 0; index < offered[0]; index++) {
      const at = 1 + index * KEY_HINT_BYTES;
      if (hint.equals(offered.subarray(at, at + KEY_HINT_BYTES))) return { networkKey, told: Buffer.from([index]) };
    }
  }
  throw starlaneError('ERR_STARLANE_SECURE', 'the two nodes have no secret in common');
}

/** The key that the other end says it has taken. @throws ERR_STARLANE_SECURE when there is none */
export function chosenKey(told: Uint8Array, keys: readonly Uint8Array[]): Uint8Array | undefined {
  if (told.length === 0) return keys[0];
  const [index] = told;
  if (index >= keys.length)
    throw starlaneError('ERR_STARLANE_SECURE', `the reply names key ${index} of ${keys.length}`);
  return keys[index];
}
