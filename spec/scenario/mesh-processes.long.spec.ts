// A mesh of processes on loopback whose relays are killed and stopped during traffic: what arrives is right, what cannot
// continue is reset, and dials succeed as long as there is a path.

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { within } from '../support/deadline.js';
import { breakWithReset, Mesh, through } from './mesh/mesh.js';
import { type Edge, isConnected, line, randomGraph, ring } from './mesh/shapes.js';

const NODES = 10;
const STREAMS = 12;

let mesh: Mesh;
beforeEach(() => {
  mesh = new Mesh();
});
afterEach(() => mesh.close());

describe('Ten processes in a line', () => {
  const edges = line(NODES);
  const last = NODES - 1;
  beforeEach(() => mesh.build(NODES, edges, { [last]: 'far' }));

  it('carry streams over nine hops; a kill -9 in the middle resets them at both ends, and a new process restores the path', async () => {
    const { members } = mesh;
    const traffic = await mesh.open(0, last, 'far', STREAMS);
    const relays = members.slice(1, last).map(({ nodeId }) => nodeId);
    for (const { via } of traffic.streams) expect(via).toEqual(relays);

    members[5].signal('SIGKILL');
    await breakWithReset(
      traffic,
      traffic.streams.map(({ key }) => key),
    );
    const { code } = await members[0].dial('far', 300);
    expect(code).toMatch(/^(ENOTFOUND|EHOSTUNREACH|ETIMEDOUT)$/);

    await mesh.restart(5, edges);
    // Each of them has to know the way, and not only the one that dials.
    await Promise.all(mesh.members.slice(0, last).map((member, at) => member.waitForHops('far', last - at)));
    const { via } = await mesh.dials(0, 'far');
    expect(via).toHaveLength(relays.length);
    expect(via).toContain(mesh.members[5].nodeId);
  });

  it('lose nothing while one of them is stopped for a moment', async () => {
    const { members } = mesh;
    const { streams, client } = await mesh.open(0, last, 'far', STREAMS);
    const keys = streams.map(({ key }) => key);
    members[4].signal('SIGSTOP');
    // The bytes in flight fill the links before it; no stream gets through, and none breaks.
    const carried = client.carry(keys);
    const { code } = await client.dial('far', 1_000);
    expect(code).toMatch(/^(ENOTFOUND|EHOSTUNREACH|ETIMEDOUT)$/);
    members[4].signal('SIGCONT');
    await carried;
    await mesh.dials(0, 'far');
    expect(await client.finish()).toBe(STREAMS);
  });
});

describe('Ten processes in a ring', () => {
  const edges = ring(NODES);
  const opposite = NODES / 2;
  beforeEach(() => mesh.build(NODES, edges, { [opposite]: 'far' }));

  it('lose only the streams through a process killed with kill -9; dials take the other way round', async () => {
    const traffic = await mesh.open(0, opposite, 'far', 2 * STREAMS);
    const gone = traffic.streams[0].via[1];
    const { hit, spared } = through(traffic, gone);
    mesh.members[mesh.indexOf(gone)].signal('SIGKILL');
    const dials = await Promise.all(Array.from({ length: 5 }, () => mesh.dials(0, 'far')));
    for (const { via } of dials) expect(via).not.toContain(gone);
    await breakWithReset(traffic, hit);
    await traffic.client.carry(spared);
    expect(await traffic.client.finish()).toBe(spared.length);
  });

  it('dial around a stopped process; the streams through it continue when it continues', async () => {
    const traffic = await mesh.open(0, opposite, 'far', 2 * STREAMS);
    const stopped = traffic.streams[0].via[1];
    const { hit, spared } = through(traffic, stopped);
    const member = mesh.members[mesh.indexOf(stopped)];
    member.signal('SIGSTOP');
    for (let turn = 0; turn < 5; turn++) {
      const { via } = await mesh.dials(0, 'far');
      expect(via).not.toContain(stopped);
    }
    await traffic.client.carry(spared);
    member.signal('SIGCONT');
    await traffic.client.carry(hit);
    expect(await traffic.client.finish()).toBe(2 * STREAMS);
  });

  it('reset the streams through a process that is stopped and then killed', async () => {
    const traffic = await mesh.open(0, opposite, 'far', 2 * STREAMS);
    const gone = traffic.streams[0].via[1];
    const { hit, spared } = through(traffic, gone);
    const member = mesh.members[mesh.indexOf(gone)];
    member.signal('SIGSTOP');
    await mesh.dials(0, 'far');
    member.signal('SIGKILL');
    await breakWithReset(traffic, hit);
    await mesh.dials(0, 'far');
    expect(await traffic.client.finish()).toBe(spared.length);
  });
});

describe('Ten processes in a ring that give each other up soon', () => {
  const edges = ring(NODES);
  const opposite = NODES / 2;
  beforeEach(() => {
    mesh = new Mesh({ keepAliveMs: 300, keepAliveTimeoutMs: 1_200 });
    return mesh.build(NODES, edges, { [opposite]: 'far' });
  });

  it('reset only the streams through a process that is stopped for long; it rejoins when it continues', async () => {
    const traffic = await mesh.open(0, opposite, 'far', 2 * STREAMS);
    const stopped = mesh.indexOf(traffic.streams[0].via[1]);
    const member = mesh.members[stopped];
    const { hit, spared } = through(traffic, member.nodeId);
    member.signal('SIGSTOP');
    await breakWithReset(traffic, hit);
    await mesh.dials(0, 'far');
    await traffic.client.carry(spared);
    member.signal('SIGCONT');
    await mesh.dials(stopped, 'far');
    expect(await traffic.client.finish()).toBe(spared.length);
  });
});

describe('Twelve processes in a random graph', () => {
  const nodes = 12;
  const clients = [0, 1, 2];
  const services = new Map([
    [nodes - 1, 'one'],
    [nodes - 2, 'other'],
  ]);

  /** A relay without which everybody still reaches everything, on the way of these streams if there is one. */
  function expendable(
    edges: readonly Edge[],
    vias: ReadonlyArray<readonly string[]>,
    gone: ReadonlySet<number>,
  ): number {
    const onTheWay = vias.flat().map((nodeId) => mesh.indexOf(nodeId));
    const found = [...onTheWay, ...mesh.members.keys()].find((index) => {
      if (gone.has(index) || clients.includes(index) || services.has(index)) return false;
      const without = new Set([...gone, index]);
      return clients.every((from) => [...services.keys()].every((to) => isConnected(edges, from, to, without)));
    });
    if (found === undefined) throw new Error('no relay can be spared: another seed is needed');
    return found;
  }

  it.each([7, 21])('survive kill -9 and SIGSTOP of relays, one after the other: seed %i', async (seed) => {
    const edges = randomGraph(nodes, nodes, seed);
    await mesh.build(nodes, edges, Object.fromEntries(services));
    const pairs = clients.flatMap((from) => [...services].map(([to, service]) => ({ from, to, service })));
    const dialAll = () => Promise.all(pairs.map(({ from, service }) => mesh.dials(from, service)));
    const gone = new Set<number>();
    for (const signal of ['SIGKILL', 'SIGSTOP', 'SIGKILL'] as const) {
      const opened = await Promise.all(pairs.map(({ from, to, service }) => mesh.open(from, to, service, 4)));
      const vias = opened.flatMap(({ streams }) => streams.map(({ via }) => via));
      const victim = expendable(edges, vias, gone);
      const member = mesh.members[victim];
      gone.add(victim);
      member.signal(signal);
      for (const { via } of await dialAll()) expect(via).not.toContain(member.nodeId);
      if (signal === 'SIGSTOP') member.signal('SIGKILL');
      for (const traffic of opened) {
        const { hit, spared } = through(traffic, member.nodeId);
        await breakWithReset(traffic, hit);
        await within('the others', traffic.client.carry(spared));
      }
    }
    await dialAll();
    await Promise.all(clients.map((from) => mesh.members[from].finish()));
  });
});
