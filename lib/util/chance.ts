// The one source of chance for code that is not given one of its own. Specs and simulations give theirs.

/** From 0 up to 1. */
export function chance(): number {
  return Math.random();
}
