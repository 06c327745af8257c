// Copies of bytes.

/** The same bytes in memory of their own, which keeps nothing else alive. */
export function copyOf(chunk: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(chunk.length);
  chunk.copy(copy);
  return copy;
}
