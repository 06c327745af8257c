// What a link is for: who says so, and what becomes of it when another link to the same peer would be for more.

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { parseLinkAddress } from '../../lib/address.js';
import { createIdentity } from '../../lib/identity/identity.js';
import type { SelfDescription } from '../../lib/link/handshake/handshake.js';
import type { Link } from '../../lib/link/link.js';
import { isStronger, type LinkPurpose, purposeFlags, purposeOf } from '../../lib/link/link-purpose.js';
import { LinkSet } from '../../lib/link/link-set.js';
import { probe } from '../../lib/link/transport/address-probe.js';
import { resolveNodeOptions } from '../../lib/options/options.js';
import { sharedTimers } from '../../lib/util/timers.js';
import { MessageType } from '../../lib/wire/messages.js';
import { nothingLeft, watchHandles } from '../support/open-handles.js';
import { socketPath } from '../support/testnet.js';
import { turnsUntil } from '../support/turns.js';

/** The links of a node that has nothing to say but that it has said all. */
class Party {
  readonly promoted: LinkPurpose[] = [];
  readonly unlinked: Array<Error | undefined> = [];
  readonly warnings: Error[] = [];
  rejectReason: string | undefined = undefined;
  readonly links: LinkSet;
  address = parseLinkAddress(`unix:${socketPath()}`);

  constructor(readonly self: SelfDescription = { ...createIdentity(), role: 'peer', envDigests: [] }) {
    this.links = new LinkSet(self, resolveNodeOptions({ closeTimeoutMs: 200 }), sharedTimers, {
      rejectReason: () => this.rejectReason,
      onLink: (link) => link.send({ type: MessageType.SYNCED }),
      onPromoted: (link) => this.promoted.push(link.purpose),
      onMessage: (link) => this.links.onSynced(link),
      onUnblocked: () => {},
      onUnlink: (_link, reason) => this.unlinked.push(reason),
      onWarning: (error) => this.warnings.push(error),
      onError: () => {},
      onUnlisten: () => {},
    });
  }

  async listen(): Promise<void> {
    await this.links.listen(`unix:${this.address.path}`);
  }

  /** Its end of the link to the other. */
  to(other: Party): Link {
    return this.links.get(other.self.nodeId) as Link;
  }
}

let a: Party;
let b: Party;

beforeEach(async () => {
  watchHandles();
  [a, b] = [new Party(), new Party()];
  await Promise.all([a.listen(), b.listen()]);
});
afterEach(async () => {
  await Promise.all([a.links.close(), b.links.close()]);
  await nothingLeft();
});

async function settled(): Promise<void> {
  await turnsUntil('both are settled', () => a.links.unsettled + b.links.unsettled === 0);
}

describe('the purpose of a link', () => {
  it.each<LinkPurpose>(['join', 'mesh', 'direct'])('is known to both ends: %s', async (purpose) => {
    const link = await a.links.dial(b.address, { purpose });
    expect([link.purpose, b.to(a).purpose]).toEqual([purpose, purpose]);
  });

  it('of a later version is taken for join', () => {
    expect(purposeOf(0xff)).toBe('join');
    expect(purposeOf(purposeFlags('direct'))).toBe('direct');
  });

  it('is stronger the longer the link is to stay', () => {
    expect(isStronger('join', 'mesh')).toBe(true);
    expect(isStronger('mesh', 'direct')).toBe(true);
    expect(isStronger('mesh', 'mesh')).toBe(false);
    expect(isStronger('direct', 'join')).toBe(false);
  });
});

describe('a second link to a peer', () => {
  it.each([
    ['the end that dialled the first', true],
    ['the other end', false],
  ])('that is for more makes the standing one do that, at both ends, when %s dials it', async (_name, same) => {
    const standing = await a.links.dial(b.address, { purpose: 'direct' });
    const [from, to] = same ? [a, b] : [b, a];
    const again = await from.links.dial(to.address, { purpose: 'join' });
    await settled();
    expect(again).toBe(same ? standing : b.to(a));
    expect([a.to(b).purpose, b.to(a).purpose]).toEqual(['join', 'join']);
    expect([a.promoted, b.promoted]).toEqual([['join'], ['join']]);
    expect([a.unlinked, b.unlinked]).toEqual([[], []]);
  });

  it('that is for less changes nothing', async () => {
    await a.links.dial(b.address, { purpose: 'join' });
    await b.links.dial(a.address, { purpose: 'direct' });
    await settled();
    expect([a.to(b).purpose, b.to(a).purpose]).toEqual(['join', 'join']);
    expect([a.promoted, b.promoted]).toEqual([[], []]);
  });
});

describe('a link that the peer does not want', () => {
  it('is refused with what speaks against it, and costs no link', async () => {
    b.rejectReason = 'has enough';
    const refused = a.links.dial(b.address, { purpose: 'mesh' });
    await expect(refused).rejects.toMatchObject({
      code: 'ERR_STARLANE_LINK_LIMIT',
      message: expect.stringContaining('the peer refused the link: the peer has enough'),
    });
    await settled();
    expect([a.links.size, b.links.size]).toEqual([0, 0]);
  });

  it('is no fault of anybody when the neighbourhood tries to make it', async () => {
    b.rejectReason = 'has enough';
    await expect(a.links.dial(b.address, { purpose: 'mesh' })).rejects.toThrow();
    await settled();
    expect([b.warnings, b.links.counters.failed]).toEqual([[], 0]);
    await expect(a.links.dial(b.address, { purpose: 'join' })).rejects.toThrow();
    await settled();
    expect(b.links.counters.failed).toBe(1);
    expect(b.warnings).toMatchObject([{ message: expect.stringContaining('this node has enough') }]);
  });

  it('is not one that this node makes itself', async () => {
    a.rejectReason = 'has enough';
    await a.links.dial(b.address, { purpose: 'mesh' });
    expect(a.links.size).toBe(1);
  });

  it('is shed, and both ends know that it was no fault', async () => {
    const link = await a.links.dial(b.address, { purpose: 'mesh' });
    b.to(a).shed();
    await turnsUntil('it is gone', () => a.unlinked.length + b.unlinked.length === 2);
    expect(a.unlinked).toMatchObject([{ code: 'ERR_STARLANE_LINK_SHED' }]);
    expect(b.unlinked).toEqual([undefined]);
    expect(link.isUp).toBe(false);
  });
});

describe('a connection that sends nothing', () => {
  it('is no fault, as it may be a probe or the health check of a load balancer', async () => {
    expect(await probe(`unix:${b.address.path}`, 5_000)).toBe('open');
    await turnsUntil('it was there', () => b.links.unsettled > 0);
    await settled();
    expect([b.warnings, b.links.counters.failed]).toEqual([[], 0]);
  });
});

describe('a dial that expects someone', () => {
  it('is a link when that one is there', async () => {
    const link = await a.links.dial(b.address, { purpose: 'mesh', expect: b.self.nodeId });
    expect(link.peerId).toBe(b.self.nodeId);
  });

  it('is not the node when another one is', async () => {
    const other = createIdentity().nodeId;
    await expect(a.links.dial(b.address, { purpose: 'mesh', expect: other })).rejects.toMatchObject({
      code: 'ERR_STARLANE_HANDSHAKE',
      message: expect.stringContaining(other),
    });
    await settled();
    expect([a.links.size, b.links.size]).toEqual([0, 0]);
  });
});
