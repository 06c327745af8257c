// What a target does with messages while its name stands for no receiver, or for too many.

import { beforeEach, describe, expect, it } from '@jest/globals';
import { starlaneError } from '../../../lib/errors.js';
import { NOTHING } from '../../../lib/messages/content.js';
import type { Receiver } from '../../../lib/messages/send/directory.js';
import { Outgoing } from '../../../lib/messages/send/outgoing.js';
import { Target } from '../../../lib/messages/send/target.js';
import { Timers } from '../../../lib/util/timers.js';
import { FakeClock } from '../../support/fake-clock.js';

const NAME = 'ada';
const AMBIGUOUS = starlaneError('ERR_STARLANE_ARGUMENT', 'several members are called ada');

let timers: Timers;
let receivers: () => readonly Receiver[];
let dialled: string[];
let target: Target;
let order: number;

beforeEach(() => {
  timers = new Timers(new FakeClock());
  receivers = () => [];
  dialled = [];
  order = 0;
  const host = {
    timers,
    resumeMs: 5_000,
    idleMs: 30_000,
    receivers: () => receivers(),
    dial: ({ nodeId }: { nodeId: string }) => {
      dialled.push(nodeId);
      return { cancel: () => {} };
    },
    onOutcome: () => {},
    onWanted: () => {},
    onWarning: () => {},
  };
  target = new Target(host, NAME, false);
});

function send(command?: number): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const owner = { timers, onLate: () => {}, onAborted: () => {}, onSettled: () => {} };
    const terms = { timeoutMs: Number.POSITIVE_INFINITY, signal: undefined, key: undefined, isIdempotent: false };
    target.send(new Outgoing(++order, owner, NAME, command, NOTHING, terms, resolve, reject));
  });
}

describe.each([
  ['messages', undefined],
  ['calls', 1],
])('%s to a name', (_what, command) => {
  it('are not handled when several members have it', async () => {
    receivers = () => {
      throw AMBIGUOUS;
    };
    await expect(send(command)).rejects.toMatchObject({ outcome: 'not-handled', cause: AMBIGUOUS });
    expect(target.isIdle).toBe(true);
  });

  it('are not handled when several members have it while they wait', async () => {
    const waiting = [send(command), send(command)];
    expect(target.isIdle).toBe(false);
    receivers = () => {
      throw AMBIGUOUS;
    };
    target.onChanged();
    for (const one of waiting) await expect(one).rejects.toMatchObject({ outcome: 'not-handled', cause: AMBIGUOUS });
    expect(target.isIdle).toBe(true);
  });

  it('leave as soon as one has it', () => {
    void send(command);
    receivers = () => [{ nodeId: 'AAAAAAAAAAA', weight: 1, service: NAME }];
    target.onChanged();
    expect(dialled).toEqual(['AAAAAAAAAAA']);
  });
});
