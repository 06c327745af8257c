// Everything that `node:net` exports behaves the same over a node. Every case runs on `node:net` first: the expectations
// are what Node does.

import { describe, expect, it } from '@jest/globals';
import { NEAR_KINDS } from './carriers.js';
import { describeParity } from './table.js';
import { TOPICS } from './topics.js';

describeParity(NEAR_KINDS);

describe('the table', () => {
  it('has no two cases of one title in a topic', () => {
    for (const { name, cases } of TOPICS) {
      const titles = cases.map(({ title }) => title);
      expect({ name, titles: [...new Set(titles)] }).toEqual({ name, titles });
    }
  });
});
