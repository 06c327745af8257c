// The interface of fuzz targets, and the error for what they must never do.

import type { Random } from '../simulation/random.js';

/**
 * One input. What a part is, the target says: a chunk of a stream, a message, a frame, the settings of the session. Parts
 * and not one string of bytes, so that a mutation of one leaves the others where the target finds them.
 */
export type Parts = readonly Buffer[];

/** The outcome of an input, or of a part of it, in words that are the same whenever it takes the same way. */
export type Outcome = string;

/** An input that takes turns of the event loop. */
export interface Trial {
  /** Does the next thing, in a turn of its own. True when all is done. */
  advance(): boolean;
  /** @throws Violation when something is left of it */
  finish(): readonly Outcome[];
}

interface TargetCore {
  readonly name: string;
  /** Its part of all inputs, against that of the others. */
  readonly share: number;
  /** A valid input. */
  generate(random: Random): Buffer[];
  /** Makes lengths, sums and signatures of a mutated input right again, or most inputs would end at the first of them. */
  repair?(parts: Buffer[], random: Random): void;
}

/** Bytes in, value or error out. */
export interface PureTarget extends TargetCore {
  /** @throws Violation, or anything else that no input may provoke */
  run(parts: Parts): readonly Outcome[];
}

/** Something that lives for some turns of the event loop. */
export interface LivingTarget extends TargetCore {
  /** What an input may take in real time, in ms, for a target without a fake clock. Default: only turns are limited. */
  readonly waitsMs?: number;
  start(parts: Parts): Trial;
}

export type Target = PureTarget | LivingTarget;

export function isPure(target: Target): target is PureTarget {
  return 'run' in target;
}

/** The fuzzed code has done something that it must never do. */
export class Violation extends Error {
  override readonly name = 'Violation';
}

export function must(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Violation(what);
}

/** Numbers and quotes of the peer differ from input to input; the rest distinguishes the ways. */
export function wayOf(error: { readonly code: string; readonly message: string }): Outcome {
  const words = error.message.replace(/"(\\.|[^"\\])*"?/g, '"').replace(/[\w-]{11}(?![a-z])|0x[\da-f]+|\d+/gi, '#');
  return `${error.code} ${words.slice(0, 100)}`;
}
