// Memory for records that are on their way out, or have arrived in part: used again, since every megabyte that is given to the
// collector instead makes it run the sooner, and it takes longer than the cipher.

import { MAX_PLAIN_BYTES, RECORD_OVERHEAD } from './record-format.js';

const BLOCK_BYTES = MAX_PLAIN_BYTES + RECORD_OVERHEAD;
/** Below, Node cuts them from larger pieces anyway. */
const MIN_BYTES = 4 * 1024;
/** Blocks of a process that wait to be used: 2 MiB. */
const MAX_FREE = 64;

const free: Buffer[] = [];

/** Memory for a record of so many bytes. Who needs it no more may say so by {@link giveBack}. */
export function takeMemory(bytes: number): Buffer {
  if (bytes <= MIN_BYTES || bytes > BLOCK_BYTES) return Buffer.allocUnsafe(bytes);
  const block = free.pop() ?? Buffer.allocUnsafeSlow(BLOCK_BYTES);
  return block.subarray(0, bytes);
}

/** Nobody looks at what {@link takeMemory} has given any more. */
export function giveBack({ buffer, byteOffset, length }: Buffer): void {
  if (length <= MIN_BYTES || buffer.byteLength !== BLOCK_BYTES || byteOffset !== 0) return;
  if (free.length < MAX_FREE) free.push(Buffer.from(buffer));
}
