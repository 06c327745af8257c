// What is measured of a network, and what it has to come to.

import type { Network } from '../network.js';

export interface Figure {
  readonly title: string;
  readonly value: number;
  readonly unit: string;
  /** It must not be more than this. */
  readonly atMost?: number;
  /** It must not be less than this. */
  readonly atLeast?: number;
}

export interface GateOptions {
  /** Nodes that leave and come back after a minute, in percent a minute. */
  readonly churn: number;
  /** How long the longer measurements go on, in minutes. */
  readonly minutes: number;
}

export interface Gate {
  readonly name: string;
  /** Of mesh.md, 4.1. */
  readonly target: string;
  readonly about: string;
  /** It is about a network that has just started; the others are about one that is at rest. */
  readonly needsStart?: boolean;
  /** It needs a network whose nodes have certificates, which it has for itself. */
  readonly needsMembers?: boolean;
  /** Measures, and leaves the network in one part. */
  run(network: Network, options: GateOptions): Promise<Figure[]>;
}

/** Undefined where there is no limit. */
export function holds({ value, atMost, atLeast }: Figure): boolean | undefined {
  if (atMost === undefined && atLeast === undefined) return undefined;
  return value <= (atMost ?? Number.POSITIVE_INFINITY) && value >= (atLeast ?? Number.NEGATIVE_INFINITY);
}
