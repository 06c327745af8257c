import { describe, expect, it } from '@jest/globals';
import { Config } from '../../../lib/cli/config/config.js';
import { flag } from '../../../lib/cli/flags.js';

describe('a flag of a command with the name of one of the node', () => {
  const NODE = { timeout: flag.duration('how long to wait') };

  it('is not that of the node, which has its variable', async () => {
    const read = (own: readonly string[], environment: Record<string, string> = {}) =>
      Config.read(environment, { timeout: '2s' }, () => undefined, own);
    expect((await read([])).shared(NODE)).toEqual({ timeout: 2_000 });
    expect((await read(['timeout'])).shared(NODE)).toEqual({ timeout: undefined });
    expect((await read(['timeout'], { STARLANE_TIMEOUT: '7s' })).shared(NODE)).toEqual({ timeout: 7_000 });
  });
});
