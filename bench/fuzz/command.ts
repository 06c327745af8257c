// The command line of the fuzzer.

import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Target } from './target.js';

export interface FuzzOptions {
  readonly help: boolean;
  readonly inputs: number;
  readonly seed: number;
  readonly targets: readonly Target[];
  readonly corpus: string;
  readonly distil: number;
}

export function usage(targets: readonly Target[]): string {
  return `usage: npm run fuzz -- [options]

Tries mutated inputs on all code that reads what a peer sends. Exits with 1 when one throws anything but an
error with a code, never ends, or leaves something behind; that input is shortened, printed, and kept.

  --inputs N       in all; default 1000000
  --seed N         it and the corpus determine all inputs; default 1
  --target a,b     of ${targets.map(({ name }) => name.replaceAll(' ', '-')).join(',')}; default all
  --corpus FOLDER  default bench/fuzz/corpus
  --distil N       add the N inputs of each target to the corpus that went the rarest ways`;
}

export function readOptions(args: string[], all: readonly Target[]): FuzzOptions {
  const { values } = parseArgs({
    args,
    options: {
      help: { type: 'boolean', short: 'h' },
      inputs: { type: 'string' },
      seed: { type: 'string' },
      target: { type: 'string' },
      corpus: { type: 'string' },
      distil: { type: 'string' },
    },
  });
  const names = values.target?.replaceAll('-', ' ').split(',');
  for (const name of names ?? []) {
    if (!all.some((target) => target.name === name)) throw new Error(`there is no target '${name}'`);
  }
  return {
    help: values.help ?? false,
    inputs: readNumber('inputs', values.inputs ?? '1000000', 1),
    seed: readNumber('seed', values.seed ?? '1', 0),
    targets: all.filter(({ name }) => names?.includes(name) ?? true),
    corpus: values.corpus ?? join('bench', 'fuzz', 'corpus'),
    distil: readNumber('distil', values.distil ?? '0', 0),
  };
}

function readNumber(name: string, text: string, min: number): number {
  const value = Number(text.replaceAll(/[_,]/g, ''));
  if (!(Number.isInteger(value) && value >= min)) throw new Error(`--${name} needs a whole number from ${min}`);
  return value;
}
