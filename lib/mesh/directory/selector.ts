// How a dial picks an instance of a service.

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
  return (instances) => {
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

/** Weighted rendezvous hashing: -w / ln(h) is the largest with a probability in proportion to w. */
function scoreOf(keyHash: number, instance: ServiceInfo): number {
  if (instance.weight === 0) return Number.NEGATIVE_INFINITY;
  const mixed = mix(hashText(instance.nodeId, keyHash) ^ Math.imul(instance.port, 0x9e37_79b1));
  return -instance.weight / Math.log((mixed + 0.5) / 0x1_0000_0000);
}

function isBefore(a: ServiceInfo, b: ServiceInfo): boolean {
  return a.nodeId < b.nodeId || (a.nodeId === b.nodeId && a.port < b.port);
}
