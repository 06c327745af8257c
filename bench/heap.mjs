// What a program of ordinary size keeps alive. V8 decides by the size of the heap how often it marks all of it for memory outside,
// where whatever is read lies: the process of a benchmark alone, with 4 MiB over node:net and 9 over Starlane, would be measured
// in two different states of the collector, one of which takes half of the two cores.

const OBJECTS_PER_MIB = 12_000;

/** @type {object[]} */
const alive = [];

/** @param {number} mib so much more than there was */
export function fillHeap(mib) {
  for (let i = 0; i < mib * OBJECTS_PER_MIB; i++) alive.push({ id: i, value: { of: i } });
}
