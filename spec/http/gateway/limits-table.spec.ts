// SECURITY.md has the limits of a gateway as they are.

import { readFileSync } from 'node:fs';
import { expect, it } from '@jest/globals';
import { GATEWAY_LIMITS } from '../../../lib/http/gateway/config.js';

it('the table of the limits of a gateway is true', () => {
  const [, text] = readFileSync(new URL('../../../SECURITY.md', import.meta.url), 'utf8').split(
    '## Limits of a gateway',
  );
  const rows = [...(text?.split('\n## ')[0] ?? '').matchAll(/^\| `(\w+)` \| (\d+) \| (\d+) \| (\d+) \|/gm)].map(
    ([, name, value, min, max]) => [name, { value: Number(value), min: Number(min), max: Number(max) }] as const,
  );
  expect(Object.fromEntries(rows)).toEqual(GATEWAY_LIMITS);
});
