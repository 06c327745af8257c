// The other live objects of a larger program, for --heap. By default there are none: a program that has just started, with a few
// MiB, is as ordinary as one with hundreds, and no figure may depend on ballast that only the benchmark has. It makes a
// difference: V8 decides by the size of the heap how often it marks all of it for the memory outside, where received
// data lies, and with a small heap it does so often.

const OBJECTS_PER_MIB = 12_000;

/** @type {object[]} */
const alive = [];

/** @param {number} mib so much more than there was */
export function fillHeap(mib) {
  for (let i = 0; i < mib * OBJECTS_PER_MIB; i++) alive.push({ id: i, value: { of: i } });
}
