// promtool, the checker of Prometheus, as Debian packages it.

import { spawnSync } from 'node:child_process';
import type { Obstacle } from '../../support/obstacle.js';

const found = spawnSync('promtool', ['--version']);

export const NO_PROMTOOL: Obstacle | undefined =
  found.error === undefined
    ? undefined
    : { reason: 'promtool is missing: apt-get install prometheus (Debian)', isMissing: true };

/** Runs it. Returns what it says, and whether it is content. */
export function promtool(args: readonly string[], input = ''): { isContent: boolean; output: string } {
  const { status, stdout, stderr } = spawnSync('promtool', args, { input, encoding: 'utf8' });
  return { isContent: status === 0, output: `${stdout}${stderr}` };
}
