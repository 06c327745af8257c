// Keys that are the same in every run, or what is kept of a run would not fit the next.

import { createPrivateKey, type KeyObject } from 'node:crypto';
import { createIdentity, type Identity } from '../../../lib/identity/identity.js';

/** What is in front of an Ed25519 key in PKCS #8 (RFC 8410, section 7). */
const PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex');

export function fixedKey(number: number): KeyObject {
  const key = Buffer.concat([PKCS8, Buffer.alloc(32, number + 1)]);
  return createPrivateKey({ key, format: 'der', type: 'pkcs8' });
}

export function fixedIdentity(number: number): Identity {
  return createIdentity(fixedKey(number));
}
