import { afterEach, describe, expect, it } from '@jest/globals';
import { createIdentity } from '../../lib/identity/identity.js';
import type { SelfDescription } from '../../lib/link/handshake/handshake.js';
import type { Link } from '../../lib/link/link.js';
import { LinkSet, proofMs } from '../../lib/link/link-set.js';
import { resolveNodeOptions } from '../../lib/options/options.js';
import { Timers } from '../../lib/util/timers.js';
import { encodeSynced, MessageType } from '../../lib/wire/messages.js';
import { FakeClock } from '../support/fake-clock.js';
import { identityBeside, RawPeer } from '../support/raw-peer.js';
import { turnsUntil } from '../support/turns.js';

const HANDSHAKE_TIMEOUT_MS = 5_000;

describe('an existing link when the peer makes another one', () => {
  it('has two seconds to prove it', () => {
    expect(proofMs(1, 1, 5_000)).toBe(2_000);
    expect(proofMs(300, 0, 5_000)).toBe(2_000);
  });

  it('has longer where losses delay its answer, but not so long that the peer gives up the other one', () => {
    expect(proofMs(300, 150, 5_000)).toBe(2_400);
    expect(proofMs(300, 500, 5_000)).toBeCloseTo(3_333, 0);
    expect(proofMs(1, 1, 300)).toBe(200);
  });
});

describe('an existing link that does not answer in that time', () => {
  const clock = new FakeClock();
  const unlinked: Array<[Link, Error | undefined]> = [];
  let links: LinkSet;

  afterEach(() => links.close());

  it('is lost, and the other one takes its place', async () => {
    const self: SelfDescription = { ...createIdentity(), role: 'peer', envDigests: [] };
    const options = resolveNodeOptions({ handshakeTimeoutMs: HANDSHAKE_TIMEOUT_MS });
    links = new LinkSet(self, options, new Timers(clock), {
      rejectReason: () => undefined,
      onLink: (link) => link.send({ type: MessageType.SYNCED }),
      onPromoted: () => {},
      onMessage: (link) => links.onSynced(link),
      onUnblocked: () => {},
      onUnlink: (link, reason) => unlinked.push([link, reason]),
      onWarning: () => {},
      onError: () => {},
      onUnlisten: () => {},
    });
    const silent = new RawPeer(true, identityBeside(self.nodeId, 'higher'));
    const attached = links.attach(silent.duplex, false);
    await silent.handshake();
    const first = await attached;
    // It says nothing from here on, as behind a network that has failed without a word.
    silent.session.output.stop();

    const second = new RawPeer(true, silent.identity);
    const other = links.attach(second.duplex, false);
    second.say(second.hello());
    await turnsUntil('it is being decided', () => [...links.everyLink()].some((link) => link.isDeciding));
    clock.advance(1_990);
    expect(unlinked).toEqual([]);
    clock.advance(30);
    expect(unlinked).toMatchObject([[{}, { code: 'ERR_STARLANE_LINK_LOST' }]]);
    expect(unlinked[0]?.[0]).toBe(first);
    await second.until(() => second.hasReceived(MessageType.SYNCED));
    second.say(encodeSynced());
    expect(links.get(silent.identity.nodeId)).toBe(await other);
    expect(links.size).toBe(1);
    for (const peer of [silent, second]) peer.session.destroy();
  });
});
