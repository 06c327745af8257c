// Copies of bytes.

/** Returns a copy in its own memory, which keeps nothing else alive. */
export function copyOf(chunk: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(chunk.length);
  chunk.copy(copy);
  return copy;
}
