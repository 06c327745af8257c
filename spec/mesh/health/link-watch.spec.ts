import { describe, expect, it, jest } from '@jest/globals';
import { LinkWatch } from '../../../lib/mesh/health/link-watch.js';
import { Scene, ScriptedLink } from '../scripted-network.js';

const KEEP_ALIVE_MS = 5_000;
const TIMEOUT_MS = 15_000;
/** A tick, its rounding, and the step in which the spec moves time. */
const SLACK_MS = 600;

class Watching extends Scene {
  readonly told: string[] = [];
  readonly announced = new Map<string, readonly string[]>();
  readonly watch: LinkWatch;

  constructor(keepAliveMs = KEEP_ALIVE_MS, keepAliveTimeoutMs = TIMEOUT_MS) {
    super();
    this.watch = new LinkWatch(
      {
        timers: this.timers,
        random: this.environment.random,
        keepAliveMs,
        keepAliveTimeoutMs,
        probe: (address) => this.network.probe(address),
        addressesOf: (nodeId) => this.announced.get(nodeId) ?? [],
      },
      {
        onSuspect: (link, isSuspect) => this.told.push(`${link.peerId} ${isSuspect ? 'suspect' : 'heard'}`),
        onStalled: (link, isStalled) => this.told.push(`${link.peerId} ${isStalled ? 'stalled' : 'goes on'}`),
        onOverload: () => this.told.push('overload'),
      },
    );
  }

  link(peerId = 'a', part: Partial<ScriptedLink> = {}): ScriptedLink {
    const link = new ScriptedLink(peerId, { lastHeardMs: this.clock.now(), ...part });
    link.onEnd = () => this.watch.onUnlink(link);
    this.watch.onLink(link);
    return link;
  }

  hear(link: ScriptedLink): void {
    link.lastHeardMs = this.clock.now();
  }
}

function found(net: Watching, result: 'refused' | 'open' | 'silent'): void {
  net.network.found.set('tcp://a.test:1', result);
}

describe('a link on which bytes arrive', () => {
  it('is left in peace', async () => {
    const net = new Watching();
    const link = net.link();
    for (let second = 0; second < 60; second++) {
      await net.pass(1_000, 500);
      net.hear(link);
    }
    expect([link.pings, net.told, net.network.probes]).toEqual([0, [], []]);
  });
});

describe('a silent link', () => {
  it('is pinged after keepAliveMs, once for each silence', async () => {
    const net = new Watching();
    const link = net.link();
    await net.pass(KEEP_ALIVE_MS - 100);
    expect(link.pings).toBe(0);
    await net.pass(SLACK_MS);
    expect(link.pings).toBe(1);
    await net.pass(3_000);
    expect(link.pings).toBe(1);
    net.hear(link);
    await net.pass(KEEP_ALIVE_MS + SLACK_MS);
    expect(link.pings).toBe(2);
  });

  it('is pinged up to a twentieth earlier or later', async () => {
    for (const [draw, dueMs] of [
      [0, 4_750],
      [0.999, 5_250],
    ]) {
      const net = new Watching();
      net.draws = [draw];
      const link = net.link();
      await net.pass(dueMs - 50);
      expect(link.pings).toBe(0);
      await net.pass(SLACK_MS);
      expect(link.pings).toBe(1);
    }
  });

  it('is pinged with others that are due, if it has been silent for half of its time', async () => {
    const net = new Watching();
    net.draws = [0, 0.999, 0.999];
    const [due, silent, heard] = [net.link('a'), net.link('b'), net.link('c')];
    await net.pass(3_000);
    net.hear(heard);
    await net.pass(2_000);
    expect([due.pings, silent.pings, heard.pings]).toEqual([1, 1, 0]);
  });

  it('is pinged by the end that accepted it before the other end would', async () => {
    const net = new Watching();
    net.draws = [0.999];
    const link = net.link('a', { direction: 'inbound' });
    await net.pass(0.9 * KEEP_ALIVE_MS);
    expect(link.pings).toBe(1);
  });

  it('is suspect after two thirds of the timeout, and its peer is probed', async () => {
    const net = new Watching();
    const link = net.link();
    await net.pass(10_000 - 100);
    expect(net.told).toEqual([]);
    await net.pass(SLACK_MS);
    expect(net.told).toEqual(['a suspect']);
    expect([net.watch.isSuspect(link), net.network.probes]).toEqual([true, ['tcp://a.test:1']]);
  });

  it('is dead at once when nothing listens there any more', async () => {
    const net = new Watching();
    found(net, 'refused');
    const link = net.link();
    await net.pass(10_000 + SLACK_MS);
    expect(link.end).toMatchObject({
      code: 'ERR_STARLANE_KEEPALIVE',
      message: expect.stringContaining('nothing listens'),
    });
  });

  it('is dead after the timeout when nothing answers', async () => {
    const net = new Watching();
    found(net, 'silent');
    const link = net.link();
    await net.pass(TIMEOUT_MS - 100);
    expect(link.end).toBeUndefined();
    await net.pass(SLACK_MS);
    expect(link.end).toMatchObject({ code: 'ERR_STARLANE_KEEPALIVE', message: expect.stringContaining('no answer') });
  });

  it('is given twice as long on a path of 300 ms, where TCP needs that long to send again what is lost five times', async () => {
    const net = new Watching();
    const link = net.link('a', { rttMs: 300, address: 'attached' });
    await net.pass(20_000 - 100);
    expect(net.told).toEqual([]);
    await net.pass(SLACK_MS);
    expect(net.told).toEqual(['a suspect']);
    await net.pass(10_000 - SLACK_MS);
    expect(link.end).toBeUndefined();
    await net.pass(2 * SLACK_MS);
    expect(link.end).toMatchObject({ code: 'ERR_STARLANE_KEEPALIVE' });
  });

  it('is dead after the timeout when the probe does not come back', async () => {
    const net = new Watching();
    net.network.probeMs.set('tcp://a.test:1', 1e9);
    const link = net.link();
    await net.pass(TIMEOUT_MS + SLACK_MS);
    expect(link.end).toMatchObject({ code: 'ERR_STARLANE_KEEPALIVE' });
  });

  it('is dead after the timeout when there is no address to probe', async () => {
    const net = new Watching();
    const link = net.link('a', { address: 'attached' });
    await net.pass(TIMEOUT_MS + SLACK_MS);
    expect(link.end).toMatchObject({ code: 'ERR_STARLANE_KEEPALIVE', message: expect.stringContaining('no address') });
    expect(net.network.probes).toEqual([]);
  });

  it('is stalled after the timeout when its kernel answers, and dead after three', async () => {
    const net = new Watching();
    found(net, 'open');
    const link = net.link();
    await net.pass(TIMEOUT_MS - 100);
    expect(net.told).toEqual(['a suspect']);
    await net.pass(SLACK_MS);
    expect([net.told, net.watch.isStalled(link)]).toEqual([['a suspect', 'a stalled'], true]);
    await net.pass(3 * TIMEOUT_MS - TIMEOUT_MS - SLACK_MS);
    expect(link.end).toBeUndefined();
    await net.pass(SLACK_MS);
    expect(link.end).toMatchObject({ code: 'ERR_STARLANE_KEEPALIVE', message: expect.stringContaining('kernel') });
  });

  it.each(['open', 'silent', 'refused'] as const)(
    'is cleared by any byte, whatever the probe says (%s)',
    async (result) => {
      const net = new Watching();
      found(net, result);
      net.network.probeMs.set('tcp://a.test:1', 2_000);
      const link = net.link();
      await net.pass(10_000 + SLACK_MS);
      net.hear(link);
      await net.pass(5_000);
      expect(link.end).toBeUndefined();
      expect(net.told).toEqual(['a suspect', 'a heard']);
    },
  );

  it('is not judged by a probe of the silence before', async () => {
    const net = new Watching();
    found(net, 'refused');
    net.network.probeMs.set('tcp://a.test:1', 14_000);
    const link = net.link();
    await net.pass(10_000 + SLACK_MS);
    net.hear(link);
    found(net, 'open');
    net.network.probeMs.set('tcp://a.test:1', 0);
    await net.pass(15_000);
    expect(net.told).toEqual(['a suspect', 'a heard', 'a suspect']);
    expect(link.end).toBeUndefined();
  });

  it('is cleared by a byte after it was stalled, and begins a new silence', async () => {
    const net = new Watching();
    found(net, 'open');
    const link = net.link();
    await net.pass(30_000);
    net.hear(link);
    await net.pass(1_000);
    expect(net.told).toEqual(['a suspect', 'a stalled', 'a goes on', 'a heard']);
    await net.pass(10_000);
    expect(net.told.at(-1)).toBe('a suspect');
    expect(link.end).toBeUndefined();
  });

  it('is not judged any more when it has ended', async () => {
    const net = new Watching();
    const link = net.link();
    await net.pass(10_000 + SLACK_MS);
    net.watch.onUnlink(link);
    await net.pass(60_000);
    expect(link.end).toBeUndefined();
    expect(net.clock.armed).toBe(0);
  });

  it('has times that follow the options', async () => {
    const net = new Watching(100, 300);
    net.network.found.set('tcp://a.test:1', 'silent');
    const link = net.link();
    await net.pass(150, 10);
    expect(link.pings).toBe(1);
    await net.pass(80, 10);
    expect(net.told).toEqual(['a suspect']);
    await net.pass(120, 10);
    expect(link.end).toMatchObject({ code: 'ERR_STARLANE_KEEPALIVE' });
  });
});

describe('the address that is probed', () => {
  it('is one that the peer announces on the machine that it comes from', async () => {
    const net = new Watching();
    net.link('a', {
      direction: 'inbound',
      address: 'tcp://10.0.0.5:50123',
      peerAddresses: ['tcp://127.0.0.1:7000', 'tcp://10.0.0.5:7000'],
    });
    await net.pass(10_000 + SLACK_MS);
    expect(net.network.probes).toEqual(['tcp://10.0.0.5:7000']);
  });

  it('may come from its record', async () => {
    const net = new Watching();
    net.announced.set('a', ['tcp://10.0.0.5:7001']);
    net.link('a', { direction: 'inbound', address: 'tcp://10.0.0.5:50123' });
    await net.pass(10_000 + SLACK_MS);
    expect(net.network.probes).toEqual(['tcp://10.0.0.5:7001']);
  });

  it('is not one of another machine, which would prove nothing about the peer', async () => {
    const net = new Watching();
    net.network.found.set('tcp://127.0.0.1:7000', 'refused');
    const link = net.link('a', {
      direction: 'inbound',
      address: 'tcp://10.0.0.5:50123',
      peerAddresses: ['tcp://127.0.0.1:7000'],
    });
    await net.pass(10_000 + SLACK_MS);
    expect([net.network.probes, link.end]).toEqual([[], undefined]);
  });
});

describe('a node that is late itself', () => {
  it('never blames a link for a block of its own: what has arrived is read after the timers have run', async () => {
    const net = new Watching();
    const link = net.link();
    await net.pass(9_000);
    // Blocked in an I/O callback for longer than any deadline; the answer of the peer waits in the kernel meanwhile.
    net.clock.lag(60_000);
    net.clock.advance(0);
    net.hear(link);
    net.clock.runImmediates();
    net.clock.runImmediates();
    await net.pass(5_000);
    expect([link.end, net.told.filter((word) => word !== 'overload')]).toEqual([undefined, []]);
  });

  it('moves every deadline by as much as it was late, for a peer that is silent as well', async () => {
    const net = new Watching();
    found(net, 'silent');
    const link = net.link();
    await net.pass(9_000);
    // The tick that was due at 9.5 s comes 1.4 s late: suspect is the link after 11.4 s.
    net.clock.lag(1_900);
    await net.pass(400);
    expect(net.told).toEqual([]);
    await net.pass(200);
    expect(net.told).toEqual(['a suspect']);
    await net.pass(4_400);
    expect(link.end).toBeUndefined();
    await net.pass(1_000);
    expect(link.end).toMatchObject({ code: 'ERR_STARLANE_KEEPALIVE' });
  });

  it('judges nothing before two turns of the event loop have passed', async () => {
    const net = new Watching();
    found(net, 'silent');
    const link = net.link();
    for (let step = 0; step < 40; step++) net.clock.advance(500);
    expect(net.told).toEqual([]);
    net.clock.runImmediates();
    expect(net.told).toEqual([]);
    net.hear(link);
    net.clock.runImmediates();
    expect(net.told).toEqual([]);
  });

  it('has longer timeouts for a while after a long block', async () => {
    const net = new Watching();
    found(net, 'silent');
    const link = net.link();
    net.clock.lag(2_600);
    await net.pass(0);
    net.hear(link);
    await net.pass(10_000 + SLACK_MS);
    expect(net.told).toEqual([]);
    await net.pass(TIMEOUT_MS);
    expect(link.end).toMatchObject({ code: 'ERR_STARLANE_KEEPALIVE' });
  });

  it('doubts itself when half of its links fall silent at once', async () => {
    const net = new Watching();
    const links = ['a', 'b', 'c', 'd'].map((peerId) => net.link(peerId));
    for (const { address } of links) net.network.found.set(address, 'silent');
    for (let second = 0; second < 20; second++) {
      for (const link of links.slice(2)) net.hear(link);
      await net.pass(1_000, 500);
    }
    expect(net.told).toEqual(['a suspect', 'b suspect']);
    expect(links.map(({ end }) => end)).toEqual([undefined, undefined, undefined, undefined]);
  });

  it('reports it, for round trips that are measured at that moment', async () => {
    const net = new Watching();
    net.link();
    await net.pass(1_000);
    expect(net.watch.isLagging).toBe(false);
    net.clock.lag(2_700);
    expect(net.watch.isLagging).toBe(true);
    await net.pass(0);
    expect(net.watch.isLagging).toBe(true);
    await net.pass(1_100);
    expect(net.watch.isLagging).toBe(false);
  });
});

describe('a watch over links that are well', () => {
  it('looks at them every two and a half seconds, and every half second for a while after it was late', async () => {
    const net = new Watching();
    const link = net.link();
    const ticks = jest.spyOn(net.watch.health, 'onTick');
    const passHeard = async (seconds: number): Promise<number> => {
      ticks.mockClear();
      for (let second = 0; second < seconds; second++) {
        net.hear(link);
        await net.pass(1_000, 500);
      }
      return ticks.mock.calls.length;
    };
    expect(await passHeard(30)).toBeLessThanOrEqual(13);
    net.clock.lag(3_000);
    expect(await passHeard(5)).toBeGreaterThanOrEqual(8);
    expect(await passHeard(30)).toBeLessThanOrEqual(14);
  });
});

describe('a watch without links', () => {
  it('has no timer', async () => {
    const net = new Watching();
    const links = [net.link('a'), net.link('b')];
    expect(net.clock.armed).toBe(1);
    for (const link of links) net.watch.onUnlink(link);
    expect(net.clock.armed).toBe(0);
    net.link('c');
    net.watch.dispose();
    expect(net.clock.armed).toBe(0);
  });
});
