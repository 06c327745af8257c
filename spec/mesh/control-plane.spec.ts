// When a node publishes changes of its links: the whole control plane, among links and records that a spec makes up.

import { describe, expect, it } from '@jest/globals';
import { ControlPlane } from '../../lib/mesh/control-plane.js';
import type { MeshEnvironment } from '../../lib/mesh/ports.js';
import { Timers } from '../../lib/util/timers.js';
import { NodeFlag } from '../../lib/wire/records.js';
import { FakeClock } from '../support/fake-clock.js';
import { turn } from '../support/turns.js';
import { pretendIdentity } from './gossip-net.js';
import { ScriptedLink, ScriptedNetwork } from './scripted-network.js';
import { nodeOf } from './signed-records.js';

const BOOT_ID = pretendIdentity('any').bootId;

const nothing = (): void => {};

/** The nodes go by one letter here, this one by a dot. */
function keyOf(name: string): string {
  return name === '.' ? 'self' : name;
}

function idOf(name: string): string {
  return pretendIdentity(keyOf(name)).nodeId;
}

class MeasuredLink extends ScriptedLink {
  override rttMs = 20;
  override readonly bootId = BOOT_ID;

  override ping(): Promise<number> {
    return Promise.resolve(this.rttMs);
  }
}

class Telling {
  readonly clock = new FakeClock();
  readonly environment: MeshEnvironment = {
    identity: pretendIdentity('self'),
    timers: new Timers(this.clock),
    random: () => 0.5,
    verify: () => true,
    warn: nothing,
  };
  readonly plane: ControlPlane;
  private seq = 0;

  constructor() {
    this.plane = new ControlPlane({
      environment: this.environment,
      network: new ScriptedNetwork(this.environment.timers),
      options: {
        role: 'server',
        relay: true,
        envDigests: [],
        seeds: [],
        backOff: { minMs: 500, maxMs: 60_000 },
        keepAliveMs: 1e9,
        keepAliveTimeoutMs: 1e9,
        firstEpoch: 1,
        maxServicesPerNode: 10,
        maxNodes: 100,
        maxInstances: 100,
      },
      owner: {
        onService: nothing,
        onUnservice: nothing,
        onRoute: nothing,
        onUnroute: nothing,
        onSynced: nothing,
        onEpoch: nothing,
      },
    });
    this.plane.start();
  }

  /** Stores the record of a node. */
  learn(name: string, peers: string, flags: number = NodeFlag.RELAY): void {
    const record = nodeOf(name, { peers: [...peers].map(keyOf), seq: ++this.seq, flags });
    const { lifeS } = record;
    const previous = this.plane.gossip.store.put({ record, remainingLifeS: lifeS }, this.clock.now());
    this.plane.onRecord(record, previous);
  }

  leave(name: string): void {
    this.learn(name, '', NodeFlag.RELAY | NodeFlag.LEAVING);
  }

  link(name: string): ScriptedLink {
    const link = new MeasuredLink(idOf(name));
    this.plane.onLink(link);
    return link;
  }

  unlink(link: ScriptedLink): void {
    link.isUp = false;
    this.plane.onUnlink(link, true);
  }

  /** The peers in the record of this node; undefined until there is one. */
  get told(): string | undefined {
    const record = this.plane.gossip.store.node(this.environment.identity.nodeId);
    const names = [...'abcdxy'];
    return record && names.filter((name) => record.links.some(({ peerId }) => peerId === idOf(name))).join('');
  }

  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 10) {
      await turn();
      this.clock.advance(Math.min(left, 10));
      this.clock.runImmediates();
    }
    await turn();
  }
}

/** A node that is linked to a, which leads to b, c and d; nothing has happened for a while. */
async function calm(): Promise<{ net: Telling; a: ScriptedLink }> {
  const net = new Telling();
  net.learn('a', '.bcd');
  for (const name of 'bcd') net.learn(name, 'a');
  const a = net.link('a');
  await net.pass(120_000);
  expect(net.told).toBe('a');
  return { net, a };
}

describe('a link that comes up', () => {
  it('is in the first record when it is the first link', async () => {
    const net = new Telling();
    net.learn('a', 'b');
    net.link('a');
    await net.pass(10_000);
    expect([net.told, net.plane.gossip.counters.originations]).toEqual(['a', 1]);
    net.plane.dispose();
  });

  it('waits for a second, and for others, when it is a redundant link', async () => {
    const { net } = await calm();
    const { originations } = net.plane.gossip.counters;
    net.link('b');
    await net.pass(500);
    net.link('c');
    await net.pass(400);
    expect(net.told).toBe('a');
    await net.pass(200);
    expect([net.told, net.plane.gossip.counters.originations - originations]).toEqual(['abc', 1]);
    net.plane.dispose();
  });

  it('is published at once when it leads to an unreachable part of the network', async () => {
    const { net } = await calm();
    net.learn('x', 'y');
    net.learn('y', 'x');
    net.link('x');
    await net.pass(100);
    expect(net.told).toBe('ax');
    net.plane.dispose();
  });

  it('is published at once when the only other link led to a node that has left', async () => {
    const { net, a } = await calm();
    net.leave('a');
    net.unlink(a);
    await net.pass(5_000);
    expect(net.told).toBe('a');
    net.link('d');
    await net.pass(100);
    expect(net.told).toBe('d');
    net.plane.dispose();
  });
});

describe('a node that drains', () => {
  it('publishes that at once, and once, with its links', async () => {
    const { net } = await calm();
    const { originations } = net.plane.gossip.counters;
    const record = () => net.plane.gossip.store.node(net.environment.identity.nodeId);
    net.plane.drain();
    expect([record()?.flags, net.told]).toEqual([NodeFlag.RELAY | NodeFlag.DRAIN, 'a']);
    net.plane.drain();
    await net.pass(10_000);
    expect(net.plane.gossip.counters.originations - originations).toBe(1);
    net.plane.leave();
    expect(record()?.flags).toBe(NodeFlag.RELAY | NodeFlag.DRAIN | NodeFlag.LEAVING);
    net.plane.dispose();
  });

  it('says so in its first record when it had no link before', async () => {
    const net = new Telling();
    net.plane.drain();
    net.learn('a', '.');
    net.link('a');
    await net.pass(10_000);
    expect(net.plane.gossip.store.node(net.environment.identity.nodeId)?.flags).toBe(NodeFlag.RELAY | NodeFlag.DRAIN);
    net.plane.dispose();
  });

  it('keeps its flag when it is overloaded for a while', async () => {
    const { net } = await calm();
    net.plane.drain();
    net.plane.onOverload(true);
    net.plane.onOverload(false);
    await net.pass(5_000);
    expect(net.plane.gossip.store.node(net.environment.identity.nodeId)?.flags).toBe(NodeFlag.RELAY | NodeFlag.DRAIN);
    net.plane.dispose();
  });
});

describe('a link that is lost', () => {
  it('is published at once', async () => {
    const { net, a } = await calm();
    net.unlink(a);
    expect(net.told).toBe('');
    net.plane.dispose();
  });

  it('costs no record when the peer has announced its leaving, and is published with the next change', async () => {
    const { net, a } = await calm();
    net.link('b');
    await net.pass(120_000);
    const { originations } = net.plane.gossip.counters;
    net.leave('a');
    net.unlink(a);
    await net.pass(5_000);
    expect([net.told, net.plane.gossip.counters.originations - originations]).toEqual(['ab', 0]);
    net.learn('c', 'b');
    net.learn('b', '.c');
    net.link('c');
    await net.pass(1_100);
    expect([net.told, net.plane.gossip.counters.originations - originations]).toEqual(['bc', 1]);
    net.plane.dispose();
  });

  it('to several peers that leave is published once, within ten seconds', async () => {
    const { net, a } = await calm();
    const others = ['b', 'c'].map((name) => net.link(name));
    await net.pass(120_000);
    const { originations } = net.plane.gossip.counters;
    net.leave('a');
    net.unlink(a);
    await net.pass(3_000);
    net.leave('b');
    net.unlink(others[0]);
    await net.pass(6_900);
    expect(net.told).toBe('abc');
    await net.pass(200);
    expect([net.told, net.plane.gossip.counters.originations - originations]).toEqual(['c', 1]);
    net.plane.dispose();
  });

  it('costs no record when the peer is back before that', async () => {
    const { net, a } = await calm();
    const { originations } = net.plane.gossip.counters;
    net.leave('a');
    net.unlink(a);
    await net.pass(5_000);
    net.learn('a', '.bcd');
    net.link('a');
    await net.pass(20_000);
    expect([net.told, net.plane.gossip.counters.originations - originations]).toEqual(['a', 0]);
    net.plane.dispose();
  });
});
