// Pieces of the library that the checker must miss: each is broken in a copy of the program, and a run with it has to be caught.

import type { Rule } from './check/violation.js';

export interface Edit {
  readonly file: string;
  /** Has to be in the file once. */
  readonly from: string;
  readonly to: string;
}

export interface Break {
  readonly name: string;
  readonly about: string;
  readonly edits: readonly Edit[];
  /** Any of these is what the checker has to find. */
  readonly rules: readonly Rule[];
}

export const BREAKS: readonly Break[] = [];
