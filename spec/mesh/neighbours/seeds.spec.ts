import { describe, expect, it } from '@jest/globals';
import { starlaneError } from '../../../lib/errors.js';
import { LOW } from '../../../lib/mesh/neighbours/degree.js';
import { MeshDialer } from '../../../lib/mesh/neighbours/dialer.js';
import { Neighbours } from '../../../lib/mesh/neighbours/neighbours.js';
import { SeedWatch } from '../../../lib/mesh/neighbours/seeds.js';
import { addressOf, BACK_OFF, MINUTE_MS, refused, Scene, ScriptedLink, SELF } from '../scripted-network.js';

const A = addressOf('a');
const NAMED = 'tcp://seeds.test:1';

class Seeding extends Scene {
  readonly neighbours = new Neighbours(SELF, this.view);
  readonly dialer = new MeshDialer(this.environment, this.network, BACK_OFF);
  readonly seeds: SeedWatch;

  constructor(seeds: readonly string[], { isClient = false, seed = 1 } = {}) {
    super(seed);
    this.network.onUp = (link) => this.up(link);
    const { neighbours, dialer } = this;
    this.seeds = new SeedWatch(this.share({ neighbours, dialer }, isClient ? 'client' : 'peer', seeds));
  }

  /** Nodes that answer, and are in view when they are linked. */
  listen(...ids: string[]): void {
    for (const id of ids) this.network.outcomes.set(addressOf(id), () => new ScriptedLink(id));
  }

  up(link: ScriptedLink): void {
    link.onEnd = () => this.lose(link);
    this.neighbours.add(link, this.clock.now());
    this.dialer.onLink(link);
    this.view.add(link.peerId);
  }

  lose(link: ScriptedLink, isReachable = false): void {
    link.isUp = false;
    const neighbour = this.neighbours.remove(link);
    if (!isReachable) this.view.reached.delete(link.peerId);
    this.network.up.delete(link);
    this.dialer.onUnlink(link);
    this.seeds.onUnlink(link, this.clock.now() - (neighbour?.upSinceMs ?? 0));
  }

  /** Links to other nodes, so that there are enough. */
  content(count = LOW): void {
    for (let number = 0; number < count; number++) {
      const link = new ScriptedLink(`other-${number}`);
      this.neighbours.add(link, this.clock.now());
    }
  }

  linkTo(nodeId: string): ScriptedLink {
    return this.neighbours.get(nodeId)?.link as ScriptedLink;
  }
}

describe('the seeds of a node', () => {
  it('are all joined at start', async () => {
    const net = new Seeding([A, addressOf('b')]);
    net.listen('a', 'b');
    net.seeds.start();
    await net.pass(2_000);
    expect(net.network.addresses.sort()).toEqual([A, addressOf('b')]);
    expect(net.warnings).toEqual([]);
  });

  it('are not dialled by a node that drains, unless it has no link', async () => {
    const net = new Seeding([A, addressOf('b')]);
    net.listen('a', 'b');
    net.content(1);
    net.neighbours.isDraining = true;
    net.seeds.start();
    await net.pass(10 * MINUTE_MS);
    expect(net.network.addresses).toEqual([]);
    net.lose(net.linkTo('other-0'));
    await net.pass(10 * MINUTE_MS);
    expect(net.neighbours.degree).toBeGreaterThan(0);
  });

  it('are dialled a quarter of a second apart, and at once when one has failed', async () => {
    const net = new Seeding(['a', 'b', 'c', 'd'].map(addressOf));
    net.seeds.start();
    await net.pass(1_000, 10);
    const at = net.network.dials.map(({ atMs }) => atMs);
    expect(at.slice(1).map((ms, index) => ms - (at[index] as number))).toEqual([250, 250]);
    const other = new Seeding(['a', 'b', 'c', 'd'].map(addressOf));
    for (const id of ['a', 'b', 'c', 'd']) other.network.outcomes.set(addressOf(id), refused());
    other.seeds.start();
    await other.pass(100, 10);
    expect(other.network.addresses.length).toBeGreaterThanOrEqual(4);
  });

  it('are not dialled when the first one has shown the others', async () => {
    const net = new Seeding(['a', 'b', 'c'].map(addressOf));
    net.listen('a', 'b', 'c');
    for (const id of ['a', 'b', 'c']) net.view.add(id, { addresses: [addressOf(id)] });
    net.environment.random = () => 0.5;
    net.seeds.start();
    await net.pass(200);
    net.content();
    await net.pass(10 * MINUTE_MS, 500);
    expect(net.network.dials.length).toBe(1);
  });

  it('are joined in an order that chance decides, three at a time', async () => {
    const ids = ['a', 'b', 'c', 'd', 'e', 'f'];
    const orders = new Set<string>();
    for (let seed = 0; seed < 5; seed++) {
      const net = new Seeding(ids.map(addressOf), { seed });
      net.seeds.start();
      await net.pass(1_000);
      expect(net.network.mostGoing).toBe(3);
      orders.add(net.network.addresses.join());
      net.seeds.dispose();
      net.dialer.dispose();
    }
    expect(orders.size).toBeGreaterThan(1);
  });

  it('are not dialled when there are enough links and they are reachable otherwise', async () => {
    const ids = ['a', 'b', 'c', 'd', 'e', 'f', 'g'];
    const net = new Seeding(ids.map(addressOf));
    net.listen(...ids);
    for (const id of ids) net.view.add(id);
    net.seeds.start();
    await net.pass(10_000);
    expect(net.network.dials.length).toBeLessThanOrEqual(6);
    expect(net.neighbours.degree).toBeGreaterThanOrEqual(LOW);
  });

  it('may hold an address at which this node listens, which is not dialled', async () => {
    const net = new Seeding([A, 'tcp://10.9.9.9:1']);
    net.listen('a');
    net.seeds.start();
    await net.pass(30 * MINUTE_MS, 1_000);
    expect([net.network.addresses, net.warnings, net.seeds.size]).toEqual([[A], [], 1]);
  });

  it('may lead to this node itself without a warning, and are dialled again about once a minute', async () => {
    const net = new Seeding([A]);
    net.network.outcomes.set(A, starlaneError('ERR_STARLANE_SELF_LINK'));
    net.seeds.start();
    await net.pass(30 * MINUTE_MS, 500);
    expect([net.warnings, net.seeds.size, net.seeds.unreachable()]).toEqual([[], 0, []]);
    expect(net.network.dials.length).toBeGreaterThan(25);
    expect(net.network.dials.length).toBeLessThan(70);
  });

  it('may have names: every address is tried, and one that answers is enough', async () => {
    const net = new Seeding([NAMED]);
    net.network.names.set(NAMED, [A, addressOf('b'), addressOf('c')]);
    net.listen('b');
    net.network.outcomes.set(A, refused());
    net.network.outcomes.set(addressOf('c'), refused());
    net.seeds.start();
    await net.pass(2_000);
    expect(new Set(net.network.addresses)).toEqual(new Set([A, addressOf('b'), addressOf('c')]));
    expect(net.warnings).toEqual([]);
  });
});

describe('a seed that fails', () => {
  it('is dialled until the end, after half a second, doubled up to a minute, with one warning for each failure', async () => {
    const net = new Seeding([A]);
    net.network.outcomes.set(A, refused());
    net.environment.random = () => 0;
    net.seeds.start();
    await net.pass(10 * MINUTE_MS, 50);
    const at = net.network.dials.map(({ atMs }) => atMs);
    const waits = at.slice(1).map((ms, index) => Math.round((ms - (at[index] as number)) / 500) * 500);
    expect(waits.slice(0, 9)).toEqual([500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
    expect(net.warnings.length).toBe(net.network.dials.length);
    expect(net.warnings[0]).toMatchObject({
      code: 'ERR_STARLANE_TRANSPORT',
      message: expect.stringContaining(A),
      cause: { code: 'ECONNREFUSED' },
    });
  });

  it('causes one warning, however many addresses it has', async () => {
    const net = new Seeding([NAMED]);
    net.network.names.set(NAMED, ['a', 'b', 'c'].map(addressOf));
    for (const id of ['a', 'b', 'c']) net.network.outcomes.set(addressOf(id), refused());
    net.seeds.start();
    await net.pass(200);
    expect(net.warnings.length).toBe(1);
    expect(net.warnings[0]?.message).toContain(NAMED);
  });

  it('is one whose name does not resolve, or whose resolver is silent', async () => {
    const net = new Seeding([NAMED]);
    net.network.names.set(NAMED, Object.assign(new Error('getaddrinfo ENOTFOUND seeds.test'), { code: 'ENOTFOUND' }));
    net.seeds.start();
    await net.pass(100);
    expect(net.warnings[0]?.message).toContain('ENOTFOUND');
    net.network.resolve = () => new Promise(() => {});
    await net.pass(11_000, 500);
    expect(net.warnings.at(-1)?.message).toContain('ETIMEDOUT');
    net.network.resolve = async () => [A];
    net.listen('a');
    await net.pass(5_000);
    expect(net.neighbours.degree).toBe(1);
  });

  it('is given up when a newer process has the identity of this one', async () => {
    const net = new Seeding([A]);
    net.network.outcomes.set(A, starlaneError('ERR_STARLANE_DUPLICATE_IDENTITY'));
    net.seeds.start();
    await net.pass(10 * MINUTE_MS, 500);
    expect([net.network.dials.length, net.seeds.size]).toEqual([1, 0]);
    expect(net.warnings).toMatchObject([{ code: 'ERR_STARLANE_DUPLICATE_IDENTITY' }]);
  });

  it('is resolved again each time', async () => {
    const net = new Seeding([NAMED]);
    net.network.names.set(NAMED, [A]);
    net.network.outcomes.set(A, refused());
    net.seeds.start();
    await net.pass(100);
    net.network.names.set(NAMED, [addressOf('b')]);
    net.listen('b');
    await net.pass(1_000);
    expect(net.linkTo('b')).toBeDefined();
  });
});

describe('a seed that is linked', () => {
  async function joined(): Promise<Seeding> {
    const net = new Seeding([A]);
    net.listen('a');
    net.seeds.start();
    await net.pass(100);
    return net;
  }

  it('is not dialled again', async () => {
    const net = await joined();
    await net.pass(60 * MINUTE_MS, 5_000);
    expect(net.network.dials.length).toBe(1);
  });

  it('is joined again soon after its link was lost', async () => {
    const net = await joined();
    await net.pass(2 * MINUTE_MS, 1_000);
    net.lose(net.linkTo('a'));
    await net.pass(600);
    expect(net.network.dials.length).toBe(2);
    expect(net.neighbours.degree).toBe(1);
  });

  it('is joined again later and later when its links do not last', async () => {
    const net = await joined();
    for (let loss = 0; loss < 20; loss++) {
      await net.pass(10_000, 500);
      if (net.neighbours.degree > 0) net.lose(net.linkTo('a'));
    }
    expect(net.network.dials.length).toBeLessThan(14);
  });

  it('may shed this node, which has links enough, and is left alone as long as it is in view', async () => {
    const net = await joined();
    net.content();
    net.lose(net.linkTo('a'), true);
    await net.pass(30 * MINUTE_MS, 1_000);
    expect(net.network.dials.length).toBe(1);
    net.view.reached.delete('a');
    await net.pass(76_000, 500);
    expect(net.network.dials.length).toBe(2);
  });

  it('is dialled again although it is reachable, when there are too few links', async () => {
    const net = await joined();
    net.content(LOW - 1);
    net.lose(net.linkTo('a'), true);
    await net.pass(2_000);
    expect(net.network.dials.length).toBe(2);
  });
});

describe('a seed with many nodes behind it', () => {
  const BALANCER = 'tcp://balancer.test:1';

  /** Each dial gets to the next one; `self` is this node. */
  function balanced(ids: readonly string[], seed = 1): Seeding {
    const net = new Seeding([BALANCER], { seed });
    let turn = 0;
    net.network.outcomes.set(BALANCER, () => {
      const id = ids[turn++ % ids.length] as string;
      if (id === SELF) return starlaneError('ERR_STARLANE_SELF_LINK');
      return (net.neighbours.get(id)?.link as ScriptedLink) ?? new ScriptedLink(id, { address: BALANCER });
    });
    return net;
  }

  it('is dialled until another node answers, without a warning', async () => {
    const net = balanced([SELF, SELF, SELF, 'a']);
    net.seeds.start();
    await net.pass(6_000);
    expect(net.linkTo('a')).toBeDefined();
    expect(net.warnings).toEqual([]);
  });

  it('is dialled again soon although the last node is linked, so that two partitions find each other', async () => {
    const net = balanced(['a', 'a', 'b', SELF]);
    net.seeds.start();
    await net.pass(10_000);
    expect(net.linkTo('a')).toBeDefined();
    expect(net.linkTo('b')).toBeDefined();
    expect(net.warnings).toEqual([]);
  });

  it('is dialled again after a pause that differs at random, or nodes in step could be led to the same few without end', async () => {
    const pauses = new Set<number>();
    for (let seed = 0; seed < 10; seed++) {
      const net = balanced(['a', 'b'], seed);
      net.seeds.start();
      await net.pass(3_000, 10);
      const [first, second] = net.network.dials.map(({ atMs }) => atMs) as [number, number];
      expect(second - first).toBeGreaterThanOrEqual(1_500);
      expect(second - first).toBeLessThanOrEqual(2_300);
      pauses.add(Math.round((second - first) / 50));
      net.seeds.dispose();
    }
    expect(pauses.size).toBeGreaterThan(4);
  });

  it('is dialled about once a minute in the long run, and more rarely by each node the more nodes there are', async () => {
    const few = balanced(['a']);
    few.seeds.start();
    await few.pass(60 * MINUTE_MS, 1_000);
    expect(few.network.dials.length).toBeGreaterThan(40);
    expect(few.network.dials.length).toBeLessThan(110);

    const many = balanced(['a']);
    many.content();
    for (let number = 0; number < 300; number++) many.view.add(`n${number}`);
    many.seeds.start();
    await many.pass(600 * MINUTE_MS, 10_000);
    expect(many.network.dials.length).toBeGreaterThan(1);
    expect(many.network.dials.length).toBeLessThan(30);
  });

  it('is dialled as well when the user has joined it, without a second warning for a failure', async () => {
    const net = balanced(['a', 'b']);
    const other = new Seeding([]);
    other.network.outcomes.set(BALANCER, net.network.outcomes.get(BALANCER));
    other.up(new ScriptedLink('c', { address: BALANCER }));
    other.seeds.start();
    other.seeds.addJoined(BALANCER);
    expect(other.seeds.size).toBe(0);
    await other.pass(10_000);
    expect(other.linkTo('a')).toBeDefined();
    expect(other.linkTo('b')).toBeDefined();
    other.network.outcomes.set(BALANCER, refused());
    await other.pass(5 * MINUTE_MS, 500);
    expect(other.warnings).toEqual([]);
    other.seeds.removeJoined(BALANCER);
    const dials = other.network.dials.length;
    await other.pass(5 * MINUTE_MS, 500);
    expect(other.network.dials.length).toBe(dials);
  });
});

describe('a seed whose name moves', () => {
  it('is joined at its new address while the node at the old one lives', async () => {
    const net = new Seeding([NAMED]);
    net.network.names.set(NAMED, [A]);
    net.listen('a', 'b');
    net.view.add('a');
    net.seeds.start();
    await net.pass(100);
    expect(net.linkTo('a')).toBeDefined();
    net.network.names.set(NAMED, [addressOf('b')]);
    await net.pass(90_000, 500);
    expect(net.linkTo('b')).toBeDefined();
    expect(net.linkTo('a')).toBeDefined();
    expect(net.warnings).toEqual([]);
  });

  it('is no reason to worry when it does not resolve while its node is linked', async () => {
    const net = new Seeding([NAMED]);
    net.network.names.set(NAMED, [A]);
    net.listen('a');
    net.seeds.start();
    await net.pass(100);
    net.network.names.set(NAMED, new Error('the resolver is down'));
    await net.pass(10 * MINUTE_MS, 500);
    expect(net.warnings).toEqual([]);
    expect(net.network.dials.length).toBe(1);
  });
});

describe('a name in DNS', () => {
  const DNS = 'dns:tcp://seeds.test:1';

  function leadsTo(net: Seeding, groups: string[][], ttlMs = 10_000): void {
    net.network.names.set(DNS, { groups: groups.map((group) => group.map(addressOf)), ttlMs });
  }

  it('is resolved again when its answer has expired, by a node with few links', async () => {
    const net = new Seeding([DNS]);
    leadsTo(net, [['a']]);
    net.listen('a', 'b');
    net.seeds.start();
    await net.pass(100);
    expect(net.linkTo('a')).toBeDefined();
    leadsTo(net, [['a', 'b']]);
    await net.pass(14_000, 500);
    expect(net.linkTo('b')).toBeDefined();
    expect(net.warnings).toEqual([]);
  });

  it('is resolved less often by a node with enough links, which still finds what is new', async () => {
    const net = new Seeding([DNS]);
    leadsTo(net, [['a']], 5_000);
    net.listen('a', 'b');
    net.content();
    net.view.add('a', { addresses: [A] });
    net.seeds.start();
    await net.pass(10 * MINUTE_MS, 1_000);
    expect(net.network.resolved.length).toBeGreaterThan(15);
    expect(net.network.resolved.length).toBeLessThan(30);
    leadsTo(net, [['a', 'b']], 5_000);
    await net.pass(MINUTE_MS, 500);
    expect(net.linkTo('b')).toBeDefined();
  });

  it('forgets an address that is gone', async () => {
    const net = new Seeding([DNS]);
    leadsTo(net, [['gone', 'a']]);
    net.listen('a');
    net.network.outcomes.set(addressOf('gone'), refused());
    net.seeds.start();
    await net.pass(20_000, 500);
    expect(net.network.addresses).toContain(addressOf('gone'));
    expect(net.seeds.unreachable()).toEqual([addressOf('gone')]);
    leadsTo(net, [['a']]);
    await net.pass(70_000, 500);
    const dials = net.network.addresses.length;
    await net.pass(5 * MINUTE_MS, 500);
    expect(net.network.addresses.slice(dials)).not.toContain(addressOf('gone'));
    expect(net.seeds.unreachable()).toEqual([]);
  });

  it('keeps its last answer while the resolver fails', async () => {
    const net = new Seeding([DNS]);
    leadsTo(net, [['a']]);
    net.listen('a');
    net.seeds.start();
    await net.pass(100);
    net.network.names.set(DNS, new Error('queryA ESERVFAIL seeds.test'));
    net.lose(net.linkTo('a'));
    await net.pass(10_000, 500);
    expect(net.linkTo('a')).toBeDefined();
    expect(net.warnings).toEqual([]);
  });

  it('that was never resolved is not dialled as an address', async () => {
    const net = new Seeding([DNS]);
    net.network.names.set(DNS, new Error('queryA ENOTFOUND seeds.test'));
    net.seeds.start();
    await net.pass(20_000, 500);
    expect(net.seeds.unreachable()).toEqual([]);
    expect(net.network.dials).toEqual([]);
    expect(net.warnings[0]?.message).toBe(`seed ${DNS}: queryA ENOTFOUND seeds.test`);
  });

  it('leads to the next group where none of the first answers, and back', async () => {
    const net = new Seeding([DNS]);
    leadsTo(net, [['a'], ['b'], ['c']]);
    net.listen('b', 'c');
    net.network.outcomes.set(A, refused());
    net.seeds.start();
    await net.pass(4_000);
    expect(net.linkTo('b')).toBeDefined();
    expect(net.network.addresses).not.toContain(addressOf('c'));
    expect(net.warnings).toEqual([]);
    net.listen('a');
    await net.pass(2 * MINUTE_MS, 500);
    expect(net.linkTo('a')).toBeDefined();
    expect(net.network.addresses).not.toContain(addressOf('c'));
  });

  it('does not dial backups while the first group serves', async () => {
    const net = new Seeding([DNS]);
    leadsTo(net, [['a'], ['b']]);
    net.listen('a', 'b');
    net.seeds.start();
    await net.pass(10 * MINUTE_MS, 500);
    expect(new Set(net.network.addresses)).toEqual(new Set([A]));
    net.network.outcomes.set(A, refused());
    net.lose(net.linkTo('a'));
    await net.pass(10_000, 500);
    expect(net.linkTo('b')).toBeDefined();
  });
});

describe('a seed with many addresses', () => {
  it('has each dialled once to find its node, unless a reachable node announces it', async () => {
    const ids = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
    const net = new Seeding([NAMED]);
    net.network.names.set(NAMED, ids.map(addressOf));
    net.content();
    net.listen(...ids);
    for (const id of ids.slice(2)) net.view.add(id);
    net.environment.random = () => 0.5;
    net.seeds.start();
    await net.pass(10_000);
    expect(net.network.addresses.sort()).toEqual(['a', 'b'].map(addressOf));
  });

  it('has one that a node in view claims dialled now and then all the same: it may lie', async () => {
    const net = new Seeding([A]);
    net.content();
    net.listen('a');
    net.view.add('liar', { addresses: [A] });
    net.seeds.start();
    await net.pass(60 * MINUTE_MS, 1_000);
    expect(net.linkTo('a')).toBeDefined();
  });
});

describe('a client', () => {
  it('joins seeds until it has three links', async () => {
    const ids = ['a', 'b', 'c', 'd', 'e'];
    const net = new Seeding(ids.map(addressOf), { isClient: true });
    net.listen(...ids);
    net.seeds.start();
    await net.pass(60 * MINUTE_MS, 1_000);
    expect([net.network.dials.length, net.neighbours.degree]).toEqual([3, 3]);
  });
});

describe('seeds that are stopped', () => {
  it('are not tried any more', async () => {
    const net = new Seeding([A, addressOf('b'), addressOf('c'), addressOf('d'), addressOf('e')]);
    net.network.outcomes.set(A, refused());
    net.seeds.start();
    await net.pass(100);
    net.seeds.dispose();
    net.dialer.dispose();
    await net.pass(0);
    const dials = net.network.dials.length;
    await net.pass(10 * MINUTE_MS, 1_000);
    expect([net.network.dials.length, net.clock.armed]).toEqual([dials, 0]);
  });
});
