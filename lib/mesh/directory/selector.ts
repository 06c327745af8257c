// How a dial picks an instance of a service.

import { starlaneError } from '../../errors.js';
import { chance, hashText, mix } from '../../util/choice.js';
import type { ServiceInfo } from './service.js';

/**
 * Returns one of the given instances, of which there is at least one, or undefined for none of them. Called again without
 * those that have failed, until a dial succeeds or none is left.
 */
export type Selector = (instances: readonly ServiceInfo[]) => ServiceInfo | undefined;

/** The values of the option `selector`. */
export type SelectorOption = Selector | 'random' | 'nearest';

/** Picks a random instance, in proportion to the weights. The default. */
export const random: Selector = randomBy(chance);

/** @internal With another source of random numbers from 0 up to 1. */
export function randomBy(source: () => number): Selector {
  return (instances) => {
    if (instances.length === 1) return instances[0];
    let total = 0;
    for (const { weight } of instances) total += weight;
    // Weight 0 is the last resort.
    if (total === 0) return instances[Math.floor(source() * instances.length)];
    let left = source() * total;
    for (const instance of instances) {
      left -= instance.weight;
      if (left < 0) return instance;
    }
    return instances[instances.length - 1];
  };
}

/** Picks the instance of the lowest cost; of equal ones the first. */
export const nearest: Selector = (instances) => {
  let best = instances[0];
  for (const instance of instances) {
    if (instance.cost < best.cost) best = instance;
  }
  return best;
};

/**
 * Picks the same instance for the same key on every node, as long as that instance exists: rendezvous hashing over node id and
 * port. When an instance comes or goes, only its share of the keys moves. Weights count.
 */
export function hash(key: string | number): Selector {
  const keyHash = hashText(String(key));
  const select: Selector = (instances) => {
    let best: ServiceInfo | undefined;
    let bestScore = Number.NEGATIVE_INFINITY;
    for (const instance of instances) {
      const score = scoreOf(keyHash, instance);
      if (best === undefined || score > bestScore || (score === bestScore && isBefore(instance, best))) {
        best = instance;
        bestScore = score;
      }
    }
    return best;
  };
  return Object.assign(select, { [KEY_HASH]: keyHash });
}

/**
 * Picks among the instances of the highest priority only, with `then`; the others come when those have failed.
 * @param order returns the priority of an instance, where the lowest number goes first; or the names of instances, the first one first,
 * and then all others
 * @param then default random
 * @throws ERR_STARLANE_ARGUMENT
 */
export function priority(
  order: ((instance: ServiceInfo) => number) | readonly string[],
  then: SelectorOption = random,
): Selector {
  const next = toSelector(then);
  if (next === undefined || (typeof order !== 'function' && !Array.isArray(order))) {
    throw starlaneError('ERR_STARLANE_ARGUMENT', 'priority: a function or a list of names is needed, and a selector');
  }
  const rankOf = typeof order === 'function' ? order : byName(order as readonly string[]);
  const select: Selector = (instances) => {
    let first: ServiceInfo[] = [];
    let lowest = Number.POSITIVE_INFINITY;
    for (const instance of instances) {
      const rank = rankOf(instance);
      // Not a number: last.
      const value = Number.isNaN(rank) || typeof rank !== 'number' ? Number.POSITIVE_INFINITY : rank;
      if (value < lowest) first = [];
      if (value <= lowest) first.push(instance);
      lowest = Math.min(lowest, value);
    }
    return next(first);
  };
  return withKeyOf(next, select);
}

function byName(names: readonly string[]): (instance: ServiceInfo) => number {
  const ranks = new Map(names.map((name, index) => [name, index]));
  return ({ instance }) => (instance === undefined ? undefined : ranks.get(instance)) ?? names.length;
}

/** What is known of a selector by a key, so that a split over services follows the key as well. */
const KEY_HASH = Symbol('starlane.keyHash');

/** @internal Returns the hash of the key by which a selector picks; undefined for others. */
export function keyHashOf(selector: Selector): number | undefined {
  return (selector as { [KEY_HASH]?: number })[KEY_HASH];
}

/** @internal Returns `selector`, which picks by the key of another one that it calls. */
export function withKeyOf(inner: Selector, selector: Selector): Selector {
  const keyHash = keyHashOf(inner);
  return keyHash === undefined ? selector : Object.assign(selector, { [KEY_HASH]: keyHash });
}

/**
 * @internal Returns one of several by weight: the same one for the same key as long as it is there, or a random one without a key. There
 * has to be one.
 */
export function byWeight<One extends { readonly weight: number }>(
  all: readonly One[],
  keyHash: number | undefined,
  nameOf: (one: One) => string,
  source: () => number = chance,
): One {
  if (all.length === 1) return all[0];
  let total = 0;
  for (const { weight } of all) total += weight;
  // Weight 0 is the last resort.
  const weightOf = total === 0 ? () => 1 : ({ weight }: One) => weight;
  let best = all[0];
  if (keyHash !== undefined) {
    let bestScore = Number.NEGATIVE_INFINITY;
    for (const one of all) {
      const weight = weightOf(one);
      const score = weight === 0 ? Number.NEGATIVE_INFINITY : rendezvous(weight, mix(hashText(nameOf(one), keyHash)));
      if (score > bestScore || (score === bestScore && nameOf(one) < nameOf(best))) best = one;
      bestScore = Math.max(bestScore, score);
    }
    return best;
  }
  let left = source() * (total === 0 ? all.length : total);
  for (const one of all) {
    const weight = weightOf(one);
    if (weight === 0) continue;
    best = one;
    left -= weight;
    if (left < 0) return one;
  }
  return best;
}

export function toSelector(option: SelectorOption | undefined): Selector | undefined {
  switch (option) {
    case undefined:
    case 'random':
      return random;
    case 'nearest':
      return nearest;
    default:
      return typeof option === 'function' ? option : undefined;
  }
}

function scoreOf(keyHash: number, instance: ServiceInfo): number {
  if (instance.weight === 0) return Number.NEGATIVE_INFINITY;
  return rendezvous(instance.weight, mix(hashText(instance.nodeId, keyHash) ^ Math.imul(instance.port, 0x9e37_79b1)));
}

/** Weighted rendezvous hashing: -w / ln(h) is the largest with a probability in proportion to w. */
function rendezvous(weight: number, mixed: number): number {
  return -weight / Math.log((mixed + 0.5) / 0x1_0000_0000);
}

function isBefore(a: ServiceInfo, b: ServiceInfo): boolean {
  return a.nodeId < b.nodeId || (a.nodeId === b.nodeId && a.port < b.port);
}
