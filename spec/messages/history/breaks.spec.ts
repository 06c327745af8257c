// The broken copies of the library that the history checker has to catch still break something: their texts are in the code.

import { rmSync } from 'node:fs';
import { describe, it } from '@jest/globals';
import { BREAKS } from '../../../bench/history/breaks.js';
import { bundleWorker } from '../../../bench/history/run/bundle.js';

describe('There is a copy of the library in which', () => {
  it.each(BREAKS.map((broken) => [broken.about, broken] as const))('%s', async (_about, broken) => {
    rmSync(await bundleWorker(broken));
  });
});
