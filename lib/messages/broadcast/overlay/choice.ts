// Which participants are neighbours: a pure function of all of them, so that two participants choose each other without messages. Each ring
// has all participants in the order of a hash of their ids, and each participant is the neighbour of the next and of the previous one. One
// ring connects all participants. Several rings make a random graph: paths are short, and when some participants are gone, the others are
// still connected. A participant that joins or leaves changes only its own neighbours.

import { hashText, mix } from '../../../util/choice.js';

/** Up to this number of participants, all are neighbours of each other. */
const FULL_MESH = 5;
const LEAST_RINGS = 2;
const MOST_RINGS = 4;
/** Neighbours besides those of the rings: the nearest ones to which there is a link anyway. */
const DIRECT = 1;

/** Returns the number of rings: 2 for up to a thousand participants, then one more for each factor of ten. */
export function ringCount(participants: number): number {
  return Math.min(MOST_RINGS, Math.max(LEAST_RINGS, Math.ceil(Math.log10(participants)) - 1));
}

/**
 * Returns the neighbours that a participant chooses. Others may choose it.
 * @param members all participants that can be reached, in any order; `self` may be among them
 * @param direct those with a link to this node, the nearest one first
 */
export function chooseNeighbours(self: string, members: readonly string[], direct: readonly string[]): Set<string> {
  const chosen = new Set<string>();
  const others = members.filter((id) => id !== self);
  if (others.length < FULL_MESH) return new Set(others);
  const rings = ringCount(others.length + 1);
  for (let ring = 0; ring < rings; ring++) {
    for (const id of besides(self, others, ring)) chosen.add(id);
  }
  let more = DIRECT;
  for (const id of direct) {
    if (more === 0) break;
    if (id === self || chosen.has(id)) continue;
    chosen.add(id);
    more--;
  }
  return chosen;
}

/** Returns the next one on a ring, and the one before. */
function besides(self: string, others: readonly string[], ring: number): [string, string] {
  const own = placeOf(self, ring);
  let [next, before] = [others[0], others[0]];
  let [ahead, behind] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (const id of others) {
    // Clockwise and back, from this participant; ids decide between equal places.
    const clockwise = (placeOf(id, ring) - own + 2 ** 32) % 2 ** 32 || (id > self ? 0.5 : 2 ** 32);
    if (clockwise < ahead || (clockwise === ahead && id < next)) [ahead, next] = [clockwise, id];
    const back = 2 ** 32 - clockwise;
    if (back < behind || (back === behind && id > before)) [behind, before] = [back, id];
  }
  return [next, before];
}

/** The places of ids on all rings, as every change needs those of all participants. */
const places = new Map<string, readonly number[]>();
const MAX_PLACES = 65_536;

function placeOf(id: string, ring: number): number {
  let known = places.get(id);
  if (known === undefined) {
    if (places.size >= MAX_PLACES) places.clear();
    known = Array.from({ length: MOST_RINGS }, (_, index) => mix(hashText(id, Math.imul(index + 1, 0x9e37_79b1))));
    places.set(id, known);
  }
  return known[ring];
}
