import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { SimLink } from '../../bench/simulation/sim-link.js';
import type { SimNode } from '../../bench/simulation/sim-node.js';
import { World } from '../../bench/simulation/world.js';
import type { LinkRequest } from '../../lib/mesh/ports.js';
import { type Message, MessageType } from '../../lib/wire/messages.js';
import { TinyPlane } from './tiny-plane.js';

const SYNCED: Message = { type: MessageType.SYNCED };
const digest = (count: number): Message => ({ type: MessageType.DIGEST, rootHigh: 0, rootLow: 0, count });

describe('links of the simulation', () => {
  let world: World;
  let one: SimNode;
  let other: SimNode;

  beforeEach(() => {
    world = new World({ seed: 1, makePlane: (setup) => new TinyPlane(setup) });
    // The first has the lower id: it decides.
    [one, other] = [world.add(), world.add()].sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1));
    one.start();
    other.start();
  });

  afterEach(() => world.close());

  const plane = (node: SimNode): TinyPlane => node.run?.plane as TinyPlane;
  const dial = (from: SimNode, to: SimNode, request: Partial<LinkRequest> = {}): Promise<SimLink> =>
    plane(from).setup.network.dial(to.host.address, { purpose: 'mesh', ...request }) as Promise<SimLink>;
  const latency = (): number => world.paths.latencyMs(one.host, other.host);

  /** Settled, with the virtual time that it took. */
  async function settled<T>(attempt: Promise<T>): Promise<{ value?: T; code?: string; afterMs: number }> {
    const start = world.loop.now;
    let result: { value?: T; code?: string; afterMs: number } | undefined;
    attempt.then(
      (value) => {
        result = { value, afterMs: world.loop.now - start };
      },
      (error) => {
        result = { code: error.cause?.code ?? error.code, afterMs: world.loop.now - start };
      },
    );
    await world.loop.waitFor(60_000, 1, () => result !== undefined);
    return result ?? { afterMs: Number.NaN };
  }

  async function linked(): Promise<[SimLink, SimLink]> {
    await settled(dial(one, other));
    await world.loop.run(1_000);
    return [one.linkTo(other), other.linkTo(one)] as [SimLink, SimLink];
  }

  it('are up after a round trip for TCP and one and a half for the handshake, at both ends', async () => {
    const { value, afterMs } = await settled(dial(one, other));
    expect(value?.isUp).toBe(true);
    expect(afterMs / latency()).toBeCloseTo(6, 0);
    expect(value?.peerId).toBe(other.nodeId);
    expect(value?.peerAddresses).toEqual([other.host.address]);
    expect(other.linkTo(one)?.direction).toBe('inbound');
    expect(plane(one).log).toEqual(['start', 'up outbound']);
    expect(plane(other).log).toEqual(['start', 'up inbound']);
    expect(value?.rttMs).toBeCloseTo(2 * latency(), 0);
  });

  it('carry messages in order, and count their bytes', async () => {
    const [link] = await linked();
    const before = other.traffic.bytesIn;
    for (let count = 0; count < 10; count++) link.send(digest(count));
    await world.loop.run(200);
    expect(plane(other).received.slice(1)).toEqual(Array.from({ length: 10 }, (_, count) => digest(count)));
    expect(other.traffic.bytesIn - before).toBe(10 * (5 + 12 + 12));
  });

  it('answer a ping after a round trip', async () => {
    const [link] = await linked();
    const { value } = await settled(link.ping());
    expect(value).toBeCloseTo(2 * latency(), 0);
  });

  it('report the time of the last byte by the clock of their own process', async () => {
    const [, link] = await linked();
    one.linkTo(other)?.send(SYNCED);
    await world.loop.run(500);
    const ago = (other.run?.process.now() ?? 0) - link.lastHeardMs;
    expect(ago).toBeCloseTo(500 - latency(), 0);
  });

  it('that still answer are kept when the peer makes another one', async () => {
    const [standing] = await linked();
    const { value } = await settled(dial(other, one, { purpose: 'join' }));
    expect(value).toBe(other.linkTo(one));
    expect(one.linkTo(other)).toBe(standing);
    expect(standing.purpose).toBe('join');
    expect(plane(one).log).toEqual(['start', 'up outbound', 'promoted join']);
  });

  it('that are made from both ends at once become one', async () => {
    const both = Promise.all([dial(one, other), dial(other, one)]);
    const { value } = await settled(both);
    await world.loop.run(5_000);
    expect(value?.map((link) => link.isUp)).toEqual([true, true]);
    expect(one.linkTo(other)?.other).toBe(other.linkTo(one));
    expect(one.run?.links.size).toBe(1);
  });

  it('of a former run of the peer are replaced by those of the new run', async () => {
    const [standing] = await linked();
    other.die();
    other.start();
    await settled(dial(other, one));
    await world.loop.run(1_000);
    expect(standing.isUp).toBe(false);
    expect(one.linkTo(other)?.isUp).toBe(true);
    expect(one.linkTo(other)?.bootId).toBe(other.run?.bootId);
  });

  it('are refused by a peer that rejects them, to an unexpected node, and to the node itself', async () => {
    plane(other).objects = 'enough';
    expect(await settled(dial(one, other))).toMatchObject({ code: 'ERR_STARLANE_LINK_LIMIT' });
    plane(other).objects = undefined;
    expect(await settled(dial(one, other, { expect: one.nodeId }))).toMatchObject({ code: 'ERR_STARLANE_HANDSHAKE' });
    expect(await settled(dial(one, one))).toMatchObject({ code: 'ERR_STARLANE_SELF_LINK' });
  });

  it('cannot be made to an address where nothing listens or answers', async () => {
    other.crash();
    expect(await settled(dial(one, other))).toMatchObject({ code: 'ECONNREFUSED' });
    other.start();
    other.die();
    const { code, afterMs } = await settled(dial(one, other));
    expect({ code, seconds: Math.round(afterMs / 1000) }).toEqual({ code: 'ETIMEDOUT', seconds: 5 });
  });

  it('to a process that is stopped fail by the handshake timeout, after its kernel has answered', async () => {
    other.run?.process.stop();
    const { code, afterMs } = await settled(dial(one, other));
    expect({ code, seconds: Math.round(afterMs / 1000) }).toEqual({
      code: 'ERR_STARLANE_HANDSHAKE_TIMEOUT',
      seconds: 5,
    });
  });

  it('stop connecting when their signal is aborted', async () => {
    const aborter = new AbortController();
    world.loop.call(2, () => aborter.abort(new Error('enough')));
    expect((await settled(dial(one, other, { signal: aborter.signal }))).afterMs).toBeLessThan(5);
    await world.loop.run(10_000);
    expect(one.run?.links.size).toBe(0);
  });

  it('close gracefully with GOODBYE, and at once without it', async () => {
    const [link] = await linked();
    link.shed();
    await world.loop.run(500);
    expect(plane(one).log).toEqual(['start', 'up outbound', 'down in order']);
    expect(plane(other).log).toEqual(['start', 'up inbound', 'down ERR_STARLANE_LINK_SHED']);
    const [again] = await linked();
    again.destroy(new Error('a fault'));
    await world.loop.run(500);
    expect(plane(other).log.slice(3)).toEqual(['up inbound', 'down ERR_STARLANE_LINK_LOST']);
  });

  it('are lost at once when the process at the other end is killed', async () => {
    await linked();
    other.crash();
    await world.loop.run(latency() + 1);
    expect(plane(one).log).toEqual(['start', 'up outbound', 'down ERR_STARLANE_LINK_LOST']);
  });

  it('are silent when the machine at the other end dies', async () => {
    const [link] = await linked();
    other.die();
    link.send(SYNCED);
    await world.loop.run(600_000);
    expect(link.isUp).toBe(true);
  });

  it('are reset by a restarted machine at the next message', async () => {
    const [link] = await linked();
    other.die();
    other.start();
    await world.loop.run(1_000);
    expect(link.isUp).toBe(true);
    link.send(SYNCED);
    await world.loop.run(1_000);
    expect(link.isUp).toBe(false);
  });

  it('hold what is sent over a path that is cut, and deliver it when the path is mended and the kernel tries again', async () => {
    const [link] = await linked();
    world.paths.cut(one.host, other.host);
    const before = plane(other).received.length;
    link.send(digest(1));
    await world.loop.run(4_000);
    link.send(digest(2));
    expect(plane(other).received.length).toBe(before);
    world.paths.mend(one.host, other.host);
    await world.loop.run(200);
    expect(plane(other).received.length).toBe(before);
    await world.loop.run(5_000);
    expect(plane(other).received.slice(before)).toEqual([digest(1), digest(2)]);
  });

  it('that are cut one way still carry messages the other', async () => {
    const [link, back] = await linked();
    world.paths.cutOneWay(one.host, other.host);
    const before = plane(one).received.length;
    link.send(digest(1));
    back.send(digest(2));
    await world.loop.run(1_000);
    expect(plane(one).received.slice(before)).toEqual([digest(2)]);
    expect(plane(other).received.some((message) => message.type === MessageType.DIGEST)).toBe(false);
  });

  it('do not lead from one side of a split to the other', async () => {
    other.host.side = 1;
    expect(await settled(dial(one, other))).toMatchObject({ code: 'ETIMEDOUT' });
    other.host.side = 0;
    expect((await settled(dial(one, other))).value?.isUp).toBe(true);
  });

  it('are blocked while the peer does not read, and are notified when it has read', async () => {
    const [link] = await linked();
    other.run?.process.stop();
    const buckets: Message = { type: MessageType.BUCKETS, high: new Uint32Array(256), low: new Uint32Array(256) };
    for (let turn = 0; turn < 200; turn++) link.send(buckets);
    expect(link.isBlocked).toBe(true);
    await world.loop.run(1_000);
    expect({ isBlocked: link.isBlocked, drains: plane(one).drains }).toEqual({ isBlocked: true, drains: 0 });
    other.run?.process.resume();
    await world.loop.run(1_000);
    expect({ isBlocked: link.isBlocked, drains: plane(one).drains }).toEqual({ isBlocked: false, drains: 1 });
  });

  it('exist from the start where a world has them', async () => {
    world.link(one, other);
    expect(one.linkTo(other)?.isUp).toBe(true);
    await world.loop.run(100);
    expect(plane(one).received).toEqual([SYNCED]);
    expect(plane(other).received).toEqual([SYNCED]);
  });

  it('are found by names and probes', async () => {
    const { network } = plane(one).setup;
    world.name('tcp://seeds.sim:4000', [one.host, other.host]);
    expect((await settled(network.resolve('tcp://seeds.sim:4000'))).value).toEqual([
      one.host.address,
      other.host.address,
    ]);
    expect((await settled(network.probe(other.host.address, 1_000))).value).toBe('open');
    other.run?.process.stop();
    expect((await settled(network.probe(other.host.address, 1_000))).value).toBe('open');
    other.crash();
    expect((await settled(network.probe(other.host.address, 1_000))).value).toBe('refused');
    other.host.isUp = false;
    const silent = await settled(network.probe(other.host.address, 1_000));
    expect(silent).toMatchObject({ value: 'silent' });
    expect(silent.afterMs).toBeCloseTo(1_000, -1);
  });

  it('of a node that leaves close gracefully, after its last messages', async () => {
    await linked();
    other.leave();
    expect(other.isLive).toBe(false);
    await world.loop.run(1_000);
    expect(plane(one).log).toEqual(['start', 'up outbound', 'down ERR_STARLANE_CLOSED']);
    expect(other.run).toBeUndefined();
  });

  it('behave the same with the same seed', async () => {
    const times: number[] = [];
    for (let turn = 0; turn < 2; turn++) {
      const again = new World({ seed: 7, makePlane: (setup) => new TinyPlane(setup) });
      const [first, second] = [again.add(), again.add()];
      first.start();
      second.start();
      void plane(first).setup.network.dial(second.host.address, { purpose: 'mesh' });
      await again.loop.waitFor(5_000, 0.1, () => first.linkTo(second)?.isSynced === true);
      times.push(again.loop.now);
      again.close();
    }
    expect(times[0]).toBe(times[1]);
  });
});
