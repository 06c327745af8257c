// What keeps the process alive: shared by all that a node has.

/** Holds the process open while something is in use, as an open net.Socket does. */
export interface KeepsAlive {
  hold(): void;
  release(): void;
}
