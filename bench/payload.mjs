/** Bytes of one write of the bulk cases. */
export const CHUNK_BYTES = 64 * 1024;

/** Bytes of one message of the echo cases. */
export const MESSAGE_BYTES = 64;

// A prime, so that bytes lost, doubled or swapped in units of frames or chunks cannot fall on equal bytes.
const PERIOD_BYTES = 1_000_003;

/** @type {Buffer | undefined} */
let pattern;

/**
 * The endless byte pattern from `offset` on. It is the same in every process.
 *
 * @param {number} offset
 * @param {number} length at most CHUNK_BYTES
 * @returns {Buffer} a view, not to be written to
 */
export function patternAt(offset, length) {
  if (pattern === undefined) {
    pattern = Buffer.allocUnsafe(PERIOD_BYTES + CHUNK_BYTES);
    let state = 0x2545f491;
    for (let i = 0; i < PERIOD_BYTES; i++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      pattern[i] = state;
    }
    pattern.copy(pattern, PERIOD_BYTES, 0, CHUNK_BYTES);
  }
  const start = offset % PERIOD_BYTES;
  return pattern.subarray(start, start + length);
}

/**
 * Throws unless `chunk` is what the pattern has at `offset`.
 *
 * @param {Buffer} chunk
 * @param {number} offset
 */
export function checkPattern(chunk, offset) {
  for (let at = 0; at < chunk.length; at += CHUNK_BYTES) {
    const part = chunk.subarray(at, at + CHUNK_BYTES);
    if (!part.equals(patternAt(offset + at, part.length))) {
      throw new Error(`wrong bytes at ${offset + at}..${offset + at + part.length}`);
    }
  }
}

/**
 * A message of MESSAGE_BYTES that no other (stream, turn) has.
 *
 * @param {number} stream
 * @returns {Buffer}
 */
export function makeMessage(stream) {
  const message = Buffer.from(patternAt(stream * MESSAGE_BYTES, MESSAGE_BYTES));
  message.writeUInt32BE(stream, 0);
  message.writeUInt32BE(0, 4);
  return message;
}
