// Twice as many machines as tokens, two issuers, and kill -9 for all of them. `npm run race:enrol` runs the whole race of 400 for 200.

import { describe, expect, it } from '@jest/globals';
import { race } from './enrolment/race.js';

const tokens = Number(process.env['STARLANE_RACE_TOKENS'] ?? 24);

describe('Machines that race for tokens, and die at every step,', () => {
  it('share them out: each token makes one member, and none is lost', async () => {
    const seed = Number(process.env['STARLANE_RACE_SEED'] ?? 1);
    const result = await race({ tokens, joinersPerProcess: 8, joinerDeaths: 4, issuerDeaths: tokens / 4, seed });
    console.info(JSON.stringify({ ...result, membersOfToken: [...result.membersOfToken] }));
    expect(result.faults).toEqual([]);
    expect([...result.membersOfToken]).toEqual([[1, tokens]]);
    // That of the second issuer, whose folder is not among those of the joiners.
    expect(result.lostUses).toBe(1);
    expect(result.deaths.joiners).toBeGreaterThan(tokens / 8);
    expect(result.deaths.issuers).toBeGreaterThan(0);
  }, 600_000);
});
