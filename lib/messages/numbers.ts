// Numbers of messages, which have 32 bits and begin again, and which contents travel on circuits of their own.

import { MAX_INLINE_BYTES, UNKNOWN_LENGTH } from './wire/frames.js';

/** Half of the numbers: what is less far behind another one comes after it. */
const HALF = 0x8000_0000;

/** Returns whether number `a` is `b`, or comes after it. */
export function isFrom(a: number, b: number): boolean {
  return (a - b) >>> 0 < HALF;
}

/** Whether a content travels on a circuit of its own. */
export function isApart(bytes: number): boolean {
  return bytes > MAX_INLINE_BYTES || bytes === UNKNOWN_LENGTH;
}
