import { describe, expect, it } from '@jest/globals';
import { Shortcuts } from '../../../lib/mesh/neighbours/shortcuts.js';
import type { MeshLink } from '../../../lib/mesh/ports.js';
import type { NodeRole } from '../../../lib/options/options.js';
import { addressOf, MINUTE_MS, refused, Scene, ScriptedLink } from '../scripted-network.js';

const MIB = 1024 * 1024;
const A = addressOf('a');

class Busy extends Scene {
  readonly shortcuts: Shortcuts;

  constructor(role: NodeRole = 'peer') {
    super();
    this.environment.random = () => 0;
    const { environment, network, view } = this;
    this.shortcuts = new Shortcuts({ environment, network, view, role });
    this.network.onUp = (link) => this.up(link);
    this.listen('a');
  }

  listen(...ids: string[]): void {
    for (const id of ids) {
      this.view.add(id);
      this.network.outcomes.set(addressOf(id), () => new ScriptedLink(id));
    }
  }

  up(link: ScriptedLink): ScriptedLink {
    link.onEnd = () => {
      this.network.up.delete(link);
      this.shortcuts.onUnlink(link);
    };
    this.network.up.add(link);
    this.shortcuts.onLink(link);
    return link;
  }

  linkTo(nodeId: string): ScriptedLink | undefined {
    return [...this.network.up].find(({ peerId }) => peerId === nodeId);
  }

  async request(dst: string, signal?: AbortSignal): Promise<MeshLink | Error> {
    return this.shortcuts.request(dst, signal).catch((error) => error);
  }
}

describe('a direct link', () => {
  it('is not made to a banned node, even on request', async () => {
    const net = new Busy();
    net.view.banned.add('a');
    net.shortcuts.note('a', { opens: 11 });
    const error = await net.request('a');
    await net.pass(1_000);
    expect(error).toMatchObject({ code: 'ERR_STARLANE_RECORD' });
    expect([net.network.dials, net.network.probes]).toEqual([[], []]);
  });

  it.each([
    ['more than 1 MiB', { bytes: MIB + 1 }, { bytes: MIB }],
    ['more than ten opens', { opens: 11 }, { opens: 10 }],
    ['more than three live circuits', { live: 4 }, { live: 3 }],
  ])('is made for %s to one node within a minute, not for less', async (_, much, little) => {
    const net = new Busy();
    net.shortcuts.note('a', little);
    await net.pass(1_000);
    expect(net.network.dials).toEqual([]);
    const other = new Busy();
    other.shortcuts.note('a', much);
    await other.pass(1_000);
    expect(other.network.dials.map(({ request }) => request)).toMatchObject([{ purpose: 'direct', expect: 'a' }]);
    expect(other.shortcuts.size).toBe(1);
  });

  it('is made for the traffic of one minute, without older traffic', async () => {
    const net = new Busy();
    for (let count = 0; count < 20; count++) {
      net.shortcuts.note('a', { opens: 1 });
      await net.pass(7_000, 500);
    }
    expect(net.network.dials).toEqual([]);
    for (let count = 0; count < 11; count++) {
      net.shortcuts.note('a', { opens: 1 });
      await net.pass(4_000, 500);
    }
    expect(net.network.dials.length).toBe(1);
  });

  it('is made when the path through relays takes over 30 ms longer than a bare connect', async () => {
    const net = new Busy();
    net.network.probeMs.set(A, 20);
    net.shortcuts.note('a', { relayRttMs: 45 });
    await net.pass(1_000, 10);
    expect([net.network.probes, net.network.dials]).toEqual([[A], []]);
    net.shortcuts.note('a', { relayRttMs: 90 });
    await net.pass(1_000, 10);
    expect([net.network.probes, net.network.dials.length]).toEqual([[A], 1]);
  });

  it('is not made for a quick path, and nothing is probed for it', async () => {
    const net = new Busy();
    net.shortcuts.note('a', { relayRttMs: 30, opens: 1 });
    await net.pass(1_000);
    expect([net.network.probes, net.network.dials]).toEqual([[], []]);
  });

  it('is not made where there is a link of any kind', async () => {
    const net = new Busy();
    net.up(new ScriptedLink('a', { purpose: 'mesh' }));
    net.shortcuts.note('a', { bytes: 2 * MIB });
    await net.pass(1_000);
    expect(net.network.dials).toEqual([]);
  });

  it.each(['server', 'client'] as const)(
    'is not made by a %s by itself, but at the request of its user',
    async (role) => {
      const net = new Busy(role);
      net.shortcuts.note('a', { bytes: 2 * MIB });
      await net.pass(1_000);
      expect(net.network.dials).toEqual([]);
      const link = net.request('a');
      await net.pass(100);
      expect(await link).toBe(net.linkTo('a'));
    },
  );

  it('is dialled at three addresses at most, a quarter of a second apart, and the first that is up counts', async () => {
    const net = new Busy();
    const addresses = [1, 2, 3, 4].map((number) => `tcp://a.test:${number}`);
    net.view.add('a', { addresses });
    net.network.outcomes.delete(A);
    net.network.outcomes.set('tcp://a.test:3', () => new ScriptedLink('a', { address: 'tcp://a.test:3' }));
    const link = net.request('a');
    await net.pass(1_000, 10);
    expect(net.network.addresses).toEqual(addresses.slice(0, 3));
    const [first, second, third] = net.network.dials.map(({ atMs }) => atMs) as [number, number, number];
    expect(second - first).toBeGreaterThanOrEqual(250);
    expect(third - second).toBeLessThan(280);
    expect(await link).toMatchObject({ address: 'tcp://a.test:3' });
    expect(net.network.dials.slice(0, 2).every(({ request }) => request.signal?.aborted)).toBe(true);
  });

  it('is dialled at the next address at once when one refuses', async () => {
    const net = new Busy();
    net.view.add('a', { addresses: [A, 'tcp://a.test:2'] });
    net.network.outcomes.set(A, refused());
    net.network.outcomes.set('tcp://a.test:2', () => new ScriptedLink('a'));
    const link = net.request('a');
    await net.pass(0);
    await net.pass(0);
    expect(await link).toMatchObject({ peerId: 'a' });
  });

  it('is tried four at a time; more by themselves are left for the next note', async () => {
    const net = new Busy();
    const ids = ['a', 'b', 'c', 'd', 'e', 'f'];
    for (const id of ids) net.view.add(id);
    net.network.outcomes.clear();
    for (const id of ids) net.shortcuts.note(id, { bytes: 2 * MIB });
    await net.pass(1_000);
    expect(net.network.dials.length).toBe(4);
    await net.pass(20_000, 500);
    expect(net.network.dials.length).toBe(4);
    net.shortcuts.note('e', { opens: 1 });
    await net.pass(100);
    expect(net.network.dials.length).toBe(5);
  });

  it('is tried again after a minute where it has failed, twice as long after each failure, up to an hour', async () => {
    const net = new Busy();
    net.network.outcomes.set(A, refused());
    for (let count = 0; count < 200 * 12; count++) {
      net.shortcuts.note('a', { bytes: 2 * MIB });
      await net.pass(5_000, 5_000);
    }
    const at = net.network.dials.map(({ atMs }) => atMs / MINUTE_MS);
    const waits = at.slice(1).map((minute, index) => Math.round(minute - (at[index] as number)));
    expect(waits.slice(0, 8)).toEqual([1, 2, 4, 8, 16, 32, 60, 60]);
  });
});

describe('a requested direct link', () => {
  it('is an existing link of any purpose', async () => {
    const net = new Busy();
    const link = net.up(new ScriptedLink('a', { purpose: 'join' }));
    expect(await net.request('a')).toBe(link);
  });

  it('is shared by all requests', async () => {
    const net = new Busy();
    const both = [net.request('a'), net.request('a')];
    await net.pass(100);
    expect(await both[0]).toBe(await both[1]);
    expect(net.network.dials.length).toBe(1);
  });

  it('is dialled whatever has failed before, and the failure is returned', async () => {
    const net = new Busy();
    net.network.outcomes.set(A, refused());
    for (let time = 1; time <= 3; time++) {
      const outcome = net.request('a');
      await net.pass(100);
      expect(await outcome).toMatchObject({ code: 'ECONNREFUSED' });
      expect(net.network.dials.length).toBe(time);
    }
  });

  it('fails at once when the node announces no address, or is not known', async () => {
    const net = new Busy();
    net.view.add('hidden', { addresses: [] });
    expect(await net.request('hidden')).toMatchObject({ code: 'ERR_STARLANE_ADDRESS' });
    expect(await net.request('unknown')).toMatchObject({ code: 'ERR_STARLANE_ADDRESS' });
  });

  it('fails within 15 s', async () => {
    const net = new Busy();
    net.network.outcomes.clear();
    const outcome = net.request('a');
    await net.pass(15_100, 500);
    expect(await outcome).toMatchObject({ code: 'ETIMEDOUT' });
  });

  it('is not waited for after the signal, and made for other callers all the same', async () => {
    const net = new Busy();
    const aborter = new AbortController();
    const [mine, others] = [net.request('a', aborter.signal), net.request('a')];
    aborter.abort(new Error('enough'));
    await net.pass(100);
    expect(await mine).toMatchObject({ message: 'enough' });
    expect(await others).toMatchObject({ peerId: 'a' });
    expect(await net.request('b', AbortSignal.abort(new Error('before')))).toMatchObject({ message: 'before' });
  });

  it('waits when four others are being made, and sixty-four may wait', async () => {
    const net = new Busy();
    for (let number = 0; number < 69; number++) net.view.add(`x${number}`);
    const outcomes = Array.from({ length: 69 }, (_, number) => net.request(`x${number}`));
    await net.pass(0);
    expect(net.network.dials.length).toBe(4);
    expect(await outcomes[68]).toMatchObject({ code: 'ERR_STARLANE_LINK_LIMIT' });
    net.shortcuts.dispose();
    expect(await outcomes[0]).toMatchObject({ code: 'ERR_STARLANE_CLOSED' });
    expect(await outcomes[67]).toMatchObject({ code: 'ERR_STARLANE_CLOSED' });
    expect(net.clock.armed).toBe(0);
  });
});

describe('direct links that are up', () => {
  it('are closed after two minutes without streams', async () => {
    const net = new Busy();
    const link = net.up(new ScriptedLink('a', { purpose: 'direct', streams: 1 }));
    await net.pass(10 * MINUTE_MS, 1_000);
    link.streams = 0;
    await net.pass(2 * MINUTE_MS - 11_000, 1_000);
    expect(link.end).toBeUndefined();
    await net.pass(22_000, 1_000);
    expect([link.end, net.shortcuts.size]).toEqual(['close', 0]);
    await net.pass(11_000, 1_000);
    expect(net.clock.armed).toBe(0);
  });

  it('are not closed once they do more than that', async () => {
    const net = new Busy();
    const link = net.up(new ScriptedLink('a', { purpose: 'direct' }));
    link.purpose = 'mesh';
    net.shortcuts.onPromoted(link);
    await net.pass(10 * MINUTE_MS, 1_000);
    expect([link.end, net.shortcuts.size]).toEqual([undefined, 0]);
  });

  it('are 64 at most: the one that was used longest ago is closed', async () => {
    const net = new Busy();
    const links: ScriptedLink[] = [];
    for (let number = 0; number < 64; number++) {
      links.push(net.up(new ScriptedLink(`x${number}`, { purpose: 'direct', streams: number < 3 ? 1 : 0 })));
      await net.pass(10);
    }
    net.shortcuts.note('a', { bytes: 2 * MIB });
    await net.pass(100);
    expect([net.shortcuts.size, links[3]?.end, net.linkTo('a')?.purpose]).toEqual([64, 'close', 'direct']);
    expect(net.shortcuts.mayAccept('stranger')).toBe(true);
    net.up(new ScriptedLink('stranger', { purpose: 'direct', direction: 'inbound' }));
    expect([net.shortcuts.size, links[4]?.end]).toEqual([64, 'close']);
  });

  it('are not closed for another while all of them are in use', async () => {
    const net = new Busy();
    for (let number = 0; number < 64; number++) {
      net.up(new ScriptedLink(`x${number}`, { purpose: 'direct', streams: 1 }));
    }
    expect([net.shortcuts.mayAccept('stranger'), net.shortcuts.mayAccept('x1')]).toEqual([false, true]);
    const outcome = net.request('a');
    await net.pass(100);
    expect(await outcome).toMatchObject({ code: 'ERR_STARLANE_LINK_LIMIT' });
  });

  it('are accepted from others as well', async () => {
    const net = new Busy('client');
    expect(net.shortcuts.mayAccept('a')).toBe(true);
    const link = net.up(new ScriptedLink('a', { purpose: 'direct', direction: 'inbound' }));
    await net.pass(3 * MINUTE_MS, 1_000);
    expect(link.end).toBe('close');
  });
});
