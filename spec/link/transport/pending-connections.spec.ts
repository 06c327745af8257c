// How many pending connections there may be, and which of them is rejected when there is one more.

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createIdentity } from '../../../lib/identity/identity.js';
import { LinkSet } from '../../../lib/link/link-set.js';
import { PendingConnections } from '../../../lib/link/transport/pending-connections.js';
import { resolveNodeOptions } from '../../../lib/options/options.js';
import { Timers } from '../../../lib/util/timers.js';
import { MessageType } from '../../../lib/wire/messages.js';
import { FakeClock } from '../../support/fake-clock.js';
import { nothingLeft, watchHandles } from '../../support/open-handles.js';
import { socketPath } from '../../support/testnet.js';
import { turnsUntil } from '../../support/turns.js';

describe('pending connections', () => {
  it('are limited, and there is room again when one is removed', () => {
    const pending = new PendingConnections(2, new Timers(new FakeClock()));
    const [one, two] = [pending.admit(() => {}), pending.admit(() => {})];
    expect([one, two, pending.admit(() => {})]).toEqual([expect.anything(), expect.anything(), undefined]);
    for (let twice = 0; twice < 2; twice++) if (one !== undefined) pending.remove(one);
    expect(pending.count).toBe(1);
    expect(pending.admit(() => {})).toBeDefined();
    expect(pending.admit(() => {})).toBeUndefined();
  });

  it('give way one by one after a second, the oldest first', () => {
    const clock = new FakeClock();
    const pending = new PendingConnections(2, new Timers(clock));
    const turnedAway: string[] = [];
    const admit = (name: string) =>
      pending.admit((error) => turnedAway.push(`${name} ${(error as { code?: string }).code}`));
    admit('one');
    clock.advance(500);
    admit('two');
    clock.advance(499);
    expect(admit('three')).toBeUndefined();
    clock.advance(1);
    expect(admit('four')).toBeDefined();
    expect(admit('five')).toBeUndefined();
    expect(turnedAway).toEqual(['one ERR_STARLANE_LINK_LIMIT']);
    expect(pending.count).toBe(2);
  });

  it('are rejected by the part that has taken them over', () => {
    const clock = new FakeClock();
    const pending = new PendingConnections(1, new Timers(clock));
    const turnedAway: string[] = [];
    const connection = pending.admit(() => turnedAway.push('the listener'));
    if (connection !== undefined) connection.reject = () => turnedAway.push('the link');
    clock.advance(1_000);
    pending.admit(() => {});
    expect(turnedAway).toEqual(['the link']);
  });
});

describe('connections that send nothing', () => {
  const sets: LinkSet[] = [];
  const warnings: Error[] = [];
  const clock = new FakeClock();

  function makeSet(): LinkSet {
    const options = resolveNodeOptions({ maxPendingHandshakes: 3, closeTimeoutMs: 200 });
    const self = { ...createIdentity(), role: 'peer' as const, envDigests: [] };
    const set: LinkSet = new LinkSet(self, options, new Timers(clock), {
      rejectReason: () => undefined,
      onLink: (link) => link.send({ type: MessageType.SYNCED }),
      onPromoted: () => {},
      onMessage: (link) => set.onSynced(link),
      onUnblocked: () => {},
      onUnlink: () => {},
      onWarning: (error) => warnings.push(error),
      onError: () => {},
      onUnlisten: () => {},
    });
    sets.push(set);
    return set;
  }

  beforeEach(() => watchHandles());
  afterEach(async () => {
    await Promise.all(sets.splice(0).map((set) => set.close()));
    await nothingLeft();
  });

  it('do not keep a member out, however many there are', async () => {
    const path = socketPath();
    const node = makeSet();
    await node.listen(`unix:${path}`);
    const idle: Socket[] = [];
    for (let count = 0; count < 3; count++) idle.push(connect(path).on('error', () => {}));
    await turnsUntil('all are there', () => node.pendingConnections.count === 3);
    clock.advance(1_000);
    const closed = once(idle[0].resume(), 'close');
    const link = await makeSet().dial({ scheme: 'unix', path }, { purpose: 'join' });
    expect(link.isUp).toBe(true);
    await closed;
    await turnsUntil('only the others are left', () => node.pendingConnections.count === 2);
    expect(warnings).toMatchObject([{ code: 'ERR_STARLANE_LINK_LIMIT' }]);
    expect(node.counters.refused.limit).toBe(1);
    for (const socket of idle) socket.destroy();
  });
});
