// Bytes that identify the stream they belong to and their position in it.

export const HEADER_BYTES = 4;

// A prime, so that bytes lost, doubled or swapped in units of frames or chunks cannot fall on equal bytes.
const PERIOD_BYTES = 1_000_003;
const LONGEST_BYTES = 1024 * 1024;
// Where in the pattern the stream of a seed begins: far from its neighbours'.
const STRIDE_BYTES = 7_919;

const pattern = Buffer.allocUnsafe(PERIOD_BYTES + LONGEST_BYTES);
let state = 0x2545f491;
for (let i = 0; i < PERIOD_BYTES; i++) {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  pattern[i] = state;
}
pattern.copy(pattern, PERIOD_BYTES, 0, LONGEST_BYTES);

/**
 * @param {number} seed
 * @param {number} offset
 * @param {number} length
 * @returns {Buffer} a view, not to be written to
 */
export function bytesAt(seed, offset, length) {
  const start = (seed * STRIDE_BYTES + offset) % PERIOD_BYTES;
  return pattern.subarray(start, start + length);
}

/** What a stream begins with. @param {number} seed */
export function headerOf(seed) {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32BE(seed);
  return header;
}

/** @param {Buffer} header */
export function seedOf(header) {
  return header.readUInt32BE();
}
