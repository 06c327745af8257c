// What a node wants of a pattern: whether it has subscriptions of its own, and which queue groups. It is announced as `meta` of the service, and over
// circuits, where it changes at once. What comes from others is checked.

import { MAX_GROUPS } from './layout.js';

/** A queue group at a node. */
export interface GroupInterest {
  /** The bit in the masks of messages to that node. */
  readonly index: number;
  /** Whether what a member has not confirmed goes to another one. */
  readonly redeliver: boolean;
}

export interface Interest {
  /** Whether there are subscriptions without a queue group. */
  readonly plain: boolean;
  readonly groups: ReadonlyMap<string, GroupInterest>;
}

const GROUP_NAME = /^[^\p{Cc}\p{Cs}\p{White_Space}.:*>]{1,64}$/u;

/** Returns whether this is a name for a queue group. */
export function isGroupName(name: unknown): name is string {
  return typeof name === 'string' && GROUP_NAME.test(name);
}

/** Returns the value of `meta`. */
export function interestMeta({ plain, groups }: Interest): unknown {
  const entries = [...groups].map(([name, { index, redeliver }]) => [name, index, redeliver ? 1 : 0]);
  return { p: plain ? 1 : 0, g: entries };
}

/** Reads what {@link interestMeta} has returned somewhere else; what is none of it is left out. */
export function readInterest(meta: unknown): Interest {
  const { p, g } = (typeof meta === 'object' && meta !== null ? meta : {}) as { p?: unknown; g?: unknown };
  const groups = new Map<string, GroupInterest>();
  for (const entry of Array.isArray(g) ? g.slice(0, MAX_GROUPS) : []) {
    const [name, index, redeliver] = Array.isArray(entry) ? entry : [];
    if (!isGroupName(name) || !Number.isInteger(index) || index < 1 || index > MAX_GROUPS) continue;
    groups.set(name, { index, redeliver: redeliver === 1 });
  }
  return { plain: p === 1, groups };
}
