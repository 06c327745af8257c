// Hashing for a choice that everybody makes alike and that moves as little as possible: whoever scores highest is taken.
// Not cryptography.

const OFFSET_BASIS = 0x811c_9dc5;

/** FNV-1a over UTF-16 units. */
export function hashText(text: string, start = OFFSET_BASIS): number {
  let value = start;
  for (let index = 0; index < text.length; index++) value = Math.imul(value ^ text.charCodeAt(index), 0x0100_0193);
  return value;
}

/** The finaliser of MurmurHash3: every bit of the input reaches every bit of the output. From 0 to 2^32 - 1. */
export function mix(value: number): number {
  let mixed = value;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85eb_ca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2_ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
