// What a link was made for. The dialling end sends it in the flags of HELLO.
//
//   join     by a user, with join or attach: kept as long as the user wants it
//   mesh     by the neighbourhood of a node, or for a seed: carries gossip and circuits as well, but may be shed
//   direct   a shortcut between two busy nodes: not announced, and without gossip

export type LinkPurpose = 'join' | 'mesh' | 'direct';

/** The index is the number on the wire, and orders purposes from strong to weak: append only. */
const PURPOSES: readonly LinkPurpose[] = ['join', 'mesh', 'direct'];

/** The bits of the flags that hold the number. */
const MASK = 0x03;

export function purposeFlags(purpose: LinkPurpose): number {
  return PURPOSES.indexOf(purpose);
}

/** Returns the purpose in the flags of a HELLO. An unknown one, of a later version, counts as `join`. */
export function purposeOf(flags: number): LinkPurpose {
  return PURPOSES[flags & MASK] ?? 'join';
}

/** Returns whether a link made for `a` has to do more than one made for `b`. */
export function isStronger(a: LinkPurpose, b: LinkPurpose): boolean {
  return PURPOSES.indexOf(a) < PURPOSES.indexOf(b);
}
