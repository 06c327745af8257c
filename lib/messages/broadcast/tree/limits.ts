// The times and bounds of a tree.

export interface TreeLimits {
  /** How long announcements wait for others that go to the same neighbour, in ms. */
  readonly announceMs: number;
  /** How long an announced message may take to come by itself, and an asked neighbour to answer, in ms. */
  readonly graftMs: number;
  /** How long the messages of an origin wait for an earlier one, in ms. */
  readonly repairMs: number;
  /** How often neighbours compare what they have, in ms. */
  readonly compareMs: number;
  /** How long a participant without an established neighbour waits for one, in ms. */
  readonly joinMs: number;
  /** Messages that an origin sends on the shared tree before it gets one of its own. */
  readonly sharedFirst: number;
  /** How much sooner another neighbour must have had a message before the tree changes, in ms, several times in a row. */
  readonly gainMs: number;
  /** What is kept for neighbours that missed something. */
  readonly cacheMessages: number;
  readonly cacheBytes: number;
  /** Origins that are remembered. */
  readonly maxOrigins: number;
  /** Messages of one origin that may be missing, or wait for a missing one. */
  readonly window: number;
  /** Bytes of all messages that wait for a missing one. */
  readonly heldBytes: number;
  /** Announced messages that are waited for; of one neighbour a quarter. */
  readonly maxMissing: number;
  /** Announcements that wait for one neighbour. */
  readonly maxAnnouncements: number;
  /** New origins that one neighbour may bring in a second, and at once. */
  readonly newOrigins: { readonly perS: number; readonly burst: number };
}

export const TREE_LIMITS: TreeLimits = {
  announceMs: 25,
  graftMs: 150,
  repairMs: 4_000,
  compareMs: 5_000,
  joinMs: 2_000,
  sharedFirst: 4,
  gainMs: 20,
  cacheMessages: 4_096,
  cacheBytes: 16 * 1024 * 1024,
  maxOrigins: 1_024,
  window: 1_024,
  heldBytes: 16 * 1024 * 1024,
  maxMissing: 8_192,
  maxAnnouncements: 4_096,
  newOrigins: { perS: 100, burst: 1_024 },
};
