import { describe, expect, it } from '@jest/globals';
import { codeOf, starlaneError } from '../../../lib/errors.js';
import { MeshDialer } from '../../../lib/mesh/neighbours/dialer.js';
import { MINUTE_MS, refused, Scene, ScriptedLink, ScriptedNetwork, SELF, seeded } from '../scripted-network.js';

const BACK_OFF = { minMs: 500, maxMs: MINUTE_MS };
const A = 'tcp://a.test:1';
const B = 'tcp://b.test:1';

class Dialling extends Scene {
  readonly dialer = new MeshDialer(this.environment, this.network, BACK_OFF);

  constructor(draw = 0) {
    super();
    this.environment.random = () => draw;
    this.network.onUp = (link) => this.dialer.onLink(link);
  }

  /** Dials and waits for what becomes of it. */
  async dial(address: string, expect?: string): Promise<unknown> {
    const outcome = this.dialer.dial(address, expect).catch((error) => error);
    await this.pass(0);
    return outcome;
  }
}

describe('a dial', () => {
  it('is for a mesh link, to the node that is expected', async () => {
    const net = new Dialling();
    const link = new ScriptedLink('a');
    net.network.outcomes.set(A, link);
    expect(await net.dial(A, 'a')).toBe(link);
    expect(net.network.dials[0]?.request).toMatchObject({ purpose: 'mesh', expect: 'a' });
    expect(net.dialer.idAt(A)).toBe('a');
  });

  it('is shared by all callers for the same address', async () => {
    const net = new Dialling();
    net.network.outcomes.set(A, new ScriptedLink('a'));
    const both = [net.dialer.dial(A), net.dialer.dial(A)];
    expect(net.dialer.canDial(A)).toBe(false);
    await net.pass(0);
    expect(await both[0]).toBe(await both[1]);
    expect(net.network.dials.length).toBe(1);
  });

  it('goes to an address that this node only advertises, where others may answer, but not to one at which it listens', () => {
    const net = new Dialling();
    net.network.listenAddresses = [A];
    net.network.ownAddresses = [B];
    expect([net.dialer.canDial(A), net.dialer.canDial(B)]).toEqual([true, false]);
  });

  it('finds out that it has reached this node itself, and may be repeated later: another one may answer', async () => {
    const net = new Dialling();
    net.network.outcomes.set(A, starlaneError('ERR_STARLANE_SELF_LINK'));
    expect(await net.dial(A)).toMatchObject({ code: 'ERR_STARLANE_SELF_LINK' });
    expect([net.dialer.isOwn(A), net.dialer.canDial(A), net.dialer.idAt(A)]).toEqual([false, false, SELF]);
    await net.pass(10 * MINUTE_MS, MINUTE_MS);
    expect(net.dialer.canDial(A)).toBe(true);
    net.network.outcomes.set(A, new ScriptedLink('a'));
    await net.dial(A);
    expect(net.dialer.idAt(A)).toBe('a');
  });

  it('is not made to an address at which this node listens', () => {
    const net = new Dialling();
    expect(net.dialer.canDial('tcp://10.9.9.9:1')).toBe(false);
    expect(net.dialer.canDial(A)).toBe(true);
  });

  it('ends after twenty seconds, whatever the network does', async () => {
    const net = new Dialling();
    const outcome = net.dialer.dial(A).catch((error) => error);
    await net.pass(19_900, 100);
    expect(net.network.dials[0]?.request.signal?.aborted).toBe(false);
    await net.pass(200);
    expect(await outcome).toMatchObject({ code: 'ETIMEDOUT' });
    expect(net.network.dials[0]?.request.signal?.aborted).toBe(true);
  });

  it('ends with the node, and none is made afterwards', async () => {
    const net = new Dialling();
    const outcome = net.dialer.dial(A).catch((error) => error);
    await net.pass(0);
    net.dialer.dispose();
    expect(await outcome).toMatchObject({ code: 'ERR_STARLANE_CLOSED' });
    await expect(net.dialer.dial('tcp://b.test:1')).rejects.toMatchObject({ code: 'ERR_STARLANE_CLOSED' });
    expect([net.network.dials.length, net.clock.armed]).toEqual([1, 0]);
  });

  it('is no success when it gives a shortcut, which carries no gossip', async () => {
    const net = new Dialling();
    net.network.outcomes.set(A, () => {
      const link = new ScriptedLink('a');
      Object.defineProperty(link, 'purpose', { get: () => 'direct', set: () => {} });
      return link;
    });
    expect(await net.dial(A)).toMatchObject({ code: 'ERR_STARLANE_DUPLICATE_LINK' });
  });
});

describe('a dial of a node', () => {
  it('tries its addresses until one answers', async () => {
    const net = new Dialling();
    const link = new ScriptedLink('a', { address: 'tcp://a2.test:1' });
    net.network.outcomes.set(A, refused());
    net.network.outcomes.set('tcp://a2.test:1', link);
    const dial = net.dialer.dialNode('a', [A, 'tcp://a2.test:1', 'tcp://a3.test:1'], true);
    expect(net.dialer.isDialling('a')).toBe(true);
    await net.pass(100);
    expect(await dial).toBe(link);
    expect([net.network.addresses, net.dialer.isDialling('a')]).toEqual([[A, 'tcp://a2.test:1'], false]);
  });

  it('skips addresses in back-off, and tries three at most', async () => {
    const net = new Dialling();
    const addresses = [1, 2, 3, 4, 5].map((number) => `tcp://a${number}.test:1`);
    for (const address of addresses) net.network.outcomes.set(address, refused());
    net.dialer.failed(addresses[0] as string);
    const dial = net.dialer.dialNode('a', addresses, true).catch((error) => error);
    await net.pass(100);
    expect(await dial).toMatchObject({ code: 'ECONNREFUSED' });
    expect(net.network.addresses).toEqual(addresses.slice(1, 4));
  });

  it('does not take another node that was dialled at the same address by chance', async () => {
    const net = new Dialling();
    net.network.outcomes.set(A, new ScriptedLink('b'));
    const other = net.dialer.dial(A, 'b');
    const dial = net.dialer.dialNode('a', ['tcp://10.9.9.9:1', A], true).catch((error) => error);
    await net.pass(0);
    expect(await other).toMatchObject({ peerId: 'b' });
    expect(await dial).toMatchObject({ code: 'ERR_STARLANE_ADDRESS' });
    net.network.outcomes.set('tcp://x.test:1', () => new ScriptedLink('b'));
    const second = net.dialer.dialNode('a', ['tcp://x.test:1'], true).catch((error) => error);
    await net.pass(0);
    expect(await second).toMatchObject({ code: 'ERR_STARLANE_HANDSHAKE' });
  });

  it('is one at a time', async () => {
    const net = new Dialling();
    const first = net.dialer.dialNode('a', [A], true).catch(() => {});
    await expect(net.dialer.dialNode('a', ['tcp://a2.test:1'], true)).rejects.toMatchObject({
      code: 'ERR_STARLANE_DUPLICATE_LINK',
    });
    net.dialer.dispose();
    await first;
  });
});

describe('an address where a dial has failed', () => {
  it('is left for half a second, and twice as long after each further failure, up to a minute', async () => {
    const net = new Dialling();
    net.network.outcomes.set(A, refused());
    const waits: number[] = [];
    for (let failure = 0; failure < 10; failure++) {
      await net.dial(A);
      const since = net.clock.now();
      while (!net.dialer.canDial(A)) net.clock.advance(100);
      waits.push(net.clock.now() - since);
    }
    expect(waits).toEqual([500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]);
  });

  it('is left for up to half of that less, at random', async () => {
    const net = new Dialling(0.999);
    net.network.outcomes.set(A, refused());
    await net.dial(A);
    net.clock.advance(249);
    expect(net.dialer.canDial(A)).toBe(false);
    net.clock.advance(2);
    expect(net.dialer.canDial(A)).toBe(true);
  });

  it('is as good as new when a link to it has been up for a minute, and no sooner', async () => {
    const net = new Dialling();
    const link = new ScriptedLink('a');
    for (const [upMs, waitMs] of [
      [MINUTE_MS - 100, 4_000],
      [MINUTE_MS, 500],
    ] as const) {
      for (let failure = 0; failure < 3; failure++) {
        net.network.outcomes.set(A, refused());
        await net.dial(A);
        net.clock.advance(MINUTE_MS);
      }
      net.network.outcomes.set(A, link);
      await net.dial(A);
      net.clock.advance(upMs);
      net.network.up.delete(link);
      net.dialer.onUnlink(link);
      net.clock.advance(waitMs - 1);
      expect(net.dialer.canDial(A)).toBe(false);
      net.clock.advance(1);
      expect(net.dialer.canDial(A)).toBe(true);
      // For the next round: forgotten by a long life.
      net.dialer.onLink(link);
      net.clock.advance(MINUTE_MS);
      net.dialer.onUnlink(link);
      net.clock.advance(MINUTE_MS);
    }
  });
});

describe('dials', () => {
  it('are five at once and two a second after that', async () => {
    const net = new Dialling(0.5);
    const started = net.clock.now();
    for (let number = 0; number < 12; number++) net.dialer.dial(`tcp://x${number}.test:1`).catch(() => {});
    await net.pass(5_000, 10);
    const at = net.network.dials.map(({ atMs }) => atMs - started);
    expect(at.filter((ms) => ms === 0).length).toBe(5);
    expect(at.length).toBe(12);
    for (let index = 5; index < 12; index++) {
      expect(at[index]).toBeGreaterThanOrEqual((index - 4) * 500);
      expect(at[index]).toBeLessThanOrEqual((index - 4) * 500 + 50);
    }
    net.dialer.dispose();
  });

  it('are made at times that differ at random, or a balancer that takes turns could lead each of many nodes to itself without end', async () => {
    const NODES = 4;
    for (let seed = 0; seed < 20; seed++) {
      const scene = new Scene();
      let turn = 0;
      const lost = new Set<number>();
      const dialers: MeshDialer[] = [];
      for (let index = 0; index < NODES; index++) {
        const network = new ScriptedNetwork(scene.timers);
        network.outcomes.set(A, () =>
          turn++ % NODES === index ? starlaneError('ERR_STARLANE_SELF_LINK') : new ScriptedLink('another'),
        );
        const random = seeded(NODES * seed + index);
        const dialer = new MeshDialer({ ...scene.environment, random }, network, { minMs: 1, maxMs: 1 });
        dialers.push(dialer);
        lost.add(index);
        const seek = (): Promise<unknown> =>
          dialer.dial(A).then(
            () => lost.delete(index),
            (error) => codeOf(error) === 'ERR_STARLANE_SELF_LINK' && seek(),
          );
        void seek();
      }
      await scene.pass(10_000, 10);
      expect([...lost]).toEqual([]);
      for (const dialer of dialers) dialer.dispose();
      expect(scene.clock.armed).toBe(0);
    }
  });

  it('are refused when too many wait', async () => {
    const net = new Dialling();
    const outcomes = Array.from({ length: 5 + 64 + 1 }, (_, number) => net.dialer.dial(`tcp://x${number}.test:1`));
    for (const outcome of outcomes) outcome.catch(() => {});
    await expect(outcomes.at(-1)).rejects.toMatchObject({ code: 'ERR_STARLANE_LINK_LIMIT' });
    net.dialer.dispose();
    await expect(outcomes.at(-2)).rejects.toMatchObject({ code: 'ERR_STARLANE_CLOSED' });
  });
});
