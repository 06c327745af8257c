// What a request proves: that the joiner has the code of a token, which it never sends, and that a key is its own.

import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto';
import type { Identity } from '../../identity/identity.js';
import { verifySignature } from '../../identity/signatures.js';
import {
  type EnrolContent,
  type EnrolRequest,
  encodeEnrol,
  encodeRenew,
  type RenewContent,
  type RenewRequest,
} from '../../wire/enrolment.js';
import { hidden } from '../../wire/token.js';

const CODE_ID_BYTES = 16;
const CODE_KEY_BYTES = 32;
const NO_SALT = Buffer.alloc(0);

/** What follows from a code. Neither leads back to it, or to the other. */
export interface CodeKeys {
  /** Names the invitation in a request. */
  readonly id: Buffer;
  /** Keys the mac of a request. */
  readonly key: Buffer;
}

export function codeKeysOf(code: Uint8Array): CodeKeys {
  return {
    id: derived(code, 'starlane code id 1', CODE_ID_BYTES),
    key: hidden(derived(code, 'starlane code key 1', CODE_KEY_BYTES)),
  };
}

function derived(code: Uint8Array, label: string, bytes: number): Buffer {
  return Buffer.from(hkdfSync('sha256', code, NO_SALT, label, bytes));
}

/** The key of a joiner or of a member. */
export type RequestKey = Pick<Identity, 'publicKey' | 'sign'>;

export function signedEnrol(
  content: Omit<EnrolContent, 'codeId' | 'publicKey'>,
  code: Uint8Array,
  { publicKey, sign }: RequestKey,
): Buffer {
  const { id, key } = codeKeysOf(code);
  return encodeEnrol({ ...content, codeId: id, publicKey }, sign, (bytes) => macOf(key, bytes));
}

export function signedRenew(content: RenewContent, { sign }: RequestKey): Buffer {
  return encodeRenew(content, sign);
}

/** Returns whether it was made by somebody who has the code. */
export function hasCode({ authenticated, mac }: EnrolRequest, key: Uint8Array): boolean {
  return timingSafeEqual(mac, macOf(key, authenticated));
}

/** Returns whether it was made by the owner of the key. */
export function isSignedBy({ signed, signature }: EnrolRequest | RenewRequest, publicKey: Uint8Array): boolean {
  return verifySignature(publicKey, signed, signature);
}

function macOf(key: Uint8Array, bytes: Uint8Array): Buffer {
  return createHmac('sha256', key).update(bytes).digest();
}
