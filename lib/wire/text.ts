// Text on the wire: strict UTF-8 behind a length of one byte. The same names come with nearly every OPEN, so the names read last are
// cached.

import { isServiceName } from '../address.js';
import { type StarlaneError, starlaneError } from '../errors.js';

/** The longest reason in a reply or goodbye, in bytes of UTF-8. */
const MAX_REASON_BYTES = 255;

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export function malformed(what: string): StarlaneError {
  return starlaneError('ERR_STARLANE_MESSAGE', what);
}

/** Decodes the bytes from `start` to `end`, which must be there. */
export function readText(bytes: Uint8Array, start: number, end: number): string {
  try {
    return strictUtf8.decode(bytes.subarray(start, end));
  } catch {
    throw malformed('text is not UTF-8');
  }
}

/** Decodes a reason. Reasons end up in logs and terminals, so control characters are replaced. */
export function readReason(bytes: Uint8Array, start: number, end: number): string {
  return readText(bytes, start, end).replace(/\p{Cc}/gu, ' ');
}

/** Returns the UTF-8 of a reason, cut to {@link MAX_REASON_BYTES} between two characters. */
export function encodeReason(reason: string): Buffer {
  const bytes = Buffer.from(reason);
  if (bytes.length <= MAX_REASON_BYTES) return bytes;
  let end = MAX_REASON_BYTES;
  while ((bytes[end] & 0xc0) === 0x80) end--;
  return bytes.subarray(0, end);
}

/** Bounds the memory for names that are used only once. */
const MAX_ENCODED_NAMES = 256;
const encodedNames = new Map<string, Buffer>();

/** Returns the UTF-8 of a valid name. The buffer is shared: do not write to it. */
export function encodeServiceName(service: string): Buffer {
  const known = encodedNames.get(service);
  if (known !== undefined) return known;
  if (!isServiceName(service)) throw malformed(`a service cannot be called ${JSON.stringify(service.slice(0, 80))}`);
  const bytes = Buffer.from(service);
  if (encodedNames.size === MAX_ENCODED_NAMES) encodedNames.clear();
  encodedNames.set(service, bytes);
  return bytes;
}

interface CachedName {
  readonly bytes: Uint8Array;
  readonly text: string;
}

/** A power of two. Each slot holds the newest name: a hostile peer can waste the cache, but not grow it. */
const NAME_SLOTS = 256;
const names = new Array<CachedName | undefined>(NAME_SLOTS).fill(undefined);

/** Decodes and checks a name that is not empty. */
export function readServiceName(bytes: Uint8Array, start: number, end: number): string {
  let hash = 0x811c_9dc5;
  for (let index = start; index < end; index++) hash = Math.imul(hash ^ bytes[index], 0x0100_0193);
  const slot = (hash ^ (hash >>> 16)) & (NAME_SLOTS - 1);
  const known = names[slot];
  if (known !== undefined && equals(known.bytes, bytes, start, end)) return known.text;

  const text = readText(bytes, start, end);
  if (!isServiceName(text)) throw malformed('not the name of a service');
  names[slot] = { bytes: Uint8Array.prototype.slice.call(bytes, start, end), text };
  return text;
}

function equals(whole: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  const length = end - start;
  if (whole.length !== length) return false;
  for (let index = 0; index < length; index++) {
    if (whole[index] !== bytes[start + index]) return false;
  }
  return true;
}
