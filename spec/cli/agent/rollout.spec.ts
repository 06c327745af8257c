// A rollout over hosts that are functions: its order, its end, and the way back.

import { describe, expect, it } from '@jest/globals';
import { type HostOutcome, type HostSteps, rollOut } from '../../../lib/cli/agent/deploy/rollout.js';

const HOSTS = ['a', 'b', 'c', 'd', 'e'];

interface Plan {
  readonly fails?: readonly string[];
  readonly unchanged?: readonly string[];
  readonly undoFails?: readonly string[];
  readonly onDeploy?: (host: string) => void;
}

function stepsOf({ fails = [], unchanged = [], undoFails = [], onDeploy }: Plan) {
  const log: string[] = [];
  let most = 0;
  let now = 0;
  const steps: HostSteps<string, string> = {
    async deploy(host) {
      most = Math.max(most, ++now);
      log.push(`deploy ${host}`);
      onDeploy?.(host);
      await new Promise((resolve) => setImmediate(resolve));
      now--;
      if (fails.includes(host)) throw new Error(`${host} is down`);
      return host;
    },
    isUnchanged: (host) => unchanged.includes(host),
    async undo(host) {
      log.push(`undo ${host}`);
      if (undoFails.includes(host)) throw new Error(`${host} went away`);
    },
  };
  return { steps, log, most: () => most };
}

const run = (plan: Plan, more: Partial<Parameters<typeof rollOut>[2]> = {}) => {
  const made = stepsOf(plan);
  const options = { parallel: 1, maxFailures: 0, undoes: true, signal: new AbortController().signal, ...more };
  return rollOut(HOSTS, made.steps, options as never).then((result) => ({
    ...made,
    isDone: result.isDone,
    states: result.outcomes.map(({ state }: HostOutcome<string>) => state),
  }));
};

describe('a rollout', () => {
  it('goes from host to host, one at a time', async () => {
    const { log, states, isDone, most } = await run({});
    expect(log).toEqual(HOSTS.map((host) => `deploy ${host}`));
    expect({ states, isDone, most: most() }).toEqual({ states: Array(5).fill('deployed'), isDone: true, most: 1 });
  });

  it('changes as many hosts at a time as it may', async () => {
    expect((await run({}, { parallel: 3 })).most()).toBe(3);
  });

  it('ends at the first failure, and goes back at the hosts that are done', async () => {
    const { log, states, isDone } = await run({ fails: ['c'] });
    expect(states).toEqual(['rolled back', 'rolled back', 'failed', 'skipped', 'skipped']);
    expect(log).toEqual(['deploy a', 'deploy b', 'deploy c', 'undo a', 'undo b']);
    expect(isDone).toBe(false);
  });

  it('goes on over as many failures as it may', async () => {
    const { states, isDone } = await run({ fails: ['b', 'd'] }, { maxFailures: 2 });
    expect(states).toEqual(['deployed', 'failed', 'deployed', 'failed', 'deployed']);
    expect(isDone).toBe(true);
    expect((await run({ fails: ['b', 'd'] }, { maxFailures: 1 })).states).toEqual([
      'rolled back',
      'failed',
      'rolled back',
      'failed',
      'skipped',
    ]);
  });

  it('leaves hosts that ran the version before as they are', async () => {
    const { states, log } = await run({ fails: ['c'], unchanged: ['a'] });
    expect(states).toEqual(['unchanged', 'rolled back', 'failed', 'skipped', 'skipped']);
    expect(log).not.toContain('undo a');
  });

  it('goes back nowhere when it is not to', async () => {
    expect((await run({ fails: ['c'] }, { undoes: false })).states).toEqual([
      'deployed',
      'deployed',
      'failed',
      'skipped',
      'skipped',
    ]);
  });

  it('says where going back has failed', async () => {
    expect((await run({ fails: ['c'], undoFails: ['a'] })).states.slice(0, 2)).toEqual([
      'not rolled back',
      'rolled back',
    ]);
  });

  it('that is interrupted ends behind the hosts that are under way, and goes back', async () => {
    const aborter = new AbortController();
    const onDeploy = (host: string) => host === 'b' && aborter.abort();
    const { states, isDone } = await run({ onDeploy: (host) => void onDeploy(host) }, { signal: aborter.signal });
    expect(states).toEqual(['rolled back', 'rolled back', 'skipped', 'skipped', 'skipped']);
    expect(isDone).toBe(false);
  });
});
