// Choosing one of several: at random, or by a hash, so that everybody makes the same choice and it changes as little as possible
// (rendezvous hashing: the highest score wins). Not cryptography.

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

/** Returns a random number from 0 up to 1. Code that specs and simulations test gets its own source instead. */
export function chance(): number {
  return Math.random();
}

/** Shuffles in place, and returns it; every order is equally likely. `random` returns a number from 0 up to 1. */
export function shuffle<T>(items: T[], random: () => number): T[] {
  for (let last = items.length - 1; last > 0; last--) {
    const place = Math.floor(random() * (last + 1));
    const item = items[place] as T;
    items[place] = items[last] as T;
    items[last] = item;
  }
  return items;
}
