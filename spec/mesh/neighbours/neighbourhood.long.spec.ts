import { describe, expect, it } from '@jest/globals';
import { ACCEPT_ANY_BELOW, LOW, RANDOM_KEPT, RANDOM_PICKS } from '../../../lib/mesh/neighbours/degree.js';
import { AbstractMesh, AbstractNode } from '../abstract-mesh.js';
import { MINUTE_MS, ScriptedLink } from '../scripted-network.js';

const SEED = 'tcp://seed.test:1';

/** `count` nodes that join by the same seeds, one every `everyMs`. */
async function grown(seed: number, count = 30, everyMs = 200, seeds = [SEED]): Promise<AbstractMesh> {
  const mesh = new AbstractMesh(seed);
  mesh.add('seed', { seeds });
  for (let number = 1; number < count; number++) {
    mesh.add(`n${number}`, { seeds });
    await mesh.pass(everyMs);
  }
  await mesh.pass(2 * MINUTE_MS);
  return mesh;
}

function degrees(mesh: AbstractMesh): number[] {
  return mesh.alive.map(({ degree }) => degree).sort((a, b) => a - b);
}

describe('thirty nodes that join by one seed', () => {
  it.each([1, 2, 3, 4])('are one graph, and have three to eight links each, but for a few (seed %i)', async (seed) => {
    const mesh = await grown(seed);
    expect(mesh.parts().length).toBe(1);
    const all = degrees(mesh);
    expect(all[0]).toBeGreaterThanOrEqual(LOW);
    // The seed has up to twelve, since no link is shed below that, and a link of its own choice may be the ninth.
    expect(all.filter((degree) => degree > 8).length).toBeLessThanOrEqual(3);
    expect(all.at(-1)).toBeLessThanOrEqual(12);
    expect(all.reduce((sum, degree) => sum + degree, 0) / 30).toBeLessThan(7.5);
  });

  it.each([1, 2, 3, 4])('come to rest: no link is made or ended any more (seed %i)', async (seed) => {
    const mesh = await grown(seed);
    const { changes, dials } = mesh;
    // Up to the first rotation, that is.
    await mesh.pass(7 * MINUTE_MS);
    expect([mesh.changes - changes, mesh.dials - dials]).toEqual([0, 0]);
  });

  it('change a few links in five minutes after that, and stay as they are', async () => {
    const mesh = await grown(5);
    await mesh.pass(20 * MINUTE_MS);
    const { changes } = mesh;
    await mesh.pass(20 * MINUTE_MS);
    // Ten rotations in five minutes, of three ends that come up or go at once.
    expect(mesh.changes - changes).toBeGreaterThan(20);
    expect(mesh.changes - changes).toBeLessThanOrEqual(4 * 20 * 4);
    expect(mesh.parts().length).toBe(1);
    expect(degrees(mesh)[0]).toBeGreaterThanOrEqual(LOW);
    expect(degrees(mesh).filter((degree) => degree > 8).length).toBeLessThanOrEqual(3);
  });

  it('make at least one link each to nodes that they have picked at random, and most of them two', async () => {
    const mesh = await grown(6);
    const picks = mesh.alive.map(({ neighbourhood }) => neighbourhood.neighbours.chosen('random'));
    expect(Math.min(...picks)).toBe(RANDOM_KEPT);
    expect(picks.filter((count) => count >= RANDOM_PICKS).length).toBeGreaterThan(mesh.alive.length / 2);
  });

  it('give a node that has lost all of its links new ones within seconds', async () => {
    const mesh = await grown(7);
    const node = mesh.nodes.get('n17') as AbstractNode;
    mesh.cut(node);
    expect(node.degree).toBe(0);
    await mesh.pass(5_000);
    expect(node.degree).toBeGreaterThanOrEqual(1);
    await mesh.pass(15_000);
    expect(node.degree).toBeGreaterThanOrEqual(LOW);
  });

  it('do so without any seed as well, when it is the seed that has died', async () => {
    const mesh = await grown(8);
    mesh.kill(mesh.nodes.get('seed') as AbstractNode);
    const node = mesh.nodes.get('n3') as AbstractNode;
    await mesh.pass(10_000);
    mesh.cut(node);
    await mesh.pass(15_000);
    expect(node.degree).toBeGreaterThanOrEqual(1);
    expect(mesh.parts().length).toBe(1);
  });

  it('are one graph within ten seconds after a third of them has died', async () => {
    const mesh = await grown(9);
    for (const node of mesh.alive.filter((_, index) => index % 3 === 0)) mesh.kill(node);
    await mesh.pass(10_000);
    expect([mesh.alive.length, mesh.parts().length]).toEqual([20, 1]);
    await mesh.pass(MINUTE_MS);
    expect(degrees(mesh)[0]).toBeGreaterThanOrEqual(LOW);
  });

  it('find together within a minute or so after the network was split in halves for five', async () => {
    const mesh = await grown(10);
    mesh.split(({ id }) => Number(id.slice(1)) % 2 || 0);
    await mesh.pass(5 * MINUTE_MS);
    expect(mesh.parts().length).toBe(2);
    mesh.split(() => 0);
    await mesh.pass(75_000);
    expect(mesh.parts().length).toBe(1);
  });

  it('find together without seeds, too', async () => {
    const mesh = await grown(11, 30, 200, []);
    expect(mesh.parts().length).toBe(30);
    const seeded = new AbstractMesh(12);
    seeded.add('seed');
    for (let number = 1; number < 30; number++) seeded.add(`n${number}`, { seeds: [SEED] });
    await seeded.pass(MINUTE_MS);
    // The only one that others would look for by itself.
    seeded.kill(seeded.nodes.get('seed') as AbstractNode);
    await seeded.pass(MINUTE_MS);
    seeded.split(({ id }) => Number(id.slice(1)) % 2);
    await seeded.pass(2 * MINUTE_MS);
    expect(seeded.parts().length).toBe(2);
    seeded.split(() => 0);
    await seeded.pass(2 * MINUTE_MS);
    expect(seeded.parts().length).toBe(1);
  });
});

describe('seeds that do not know each other', () => {
  it('end up in one graph when any node has both of them in its list', async () => {
    const seeds = ['s1', 's2', 's3'];
    const mesh = new AbstractMesh(13);
    for (const id of seeds) mesh.add(id);
    for (let number = 0; number < 27; number++) {
      // Ten nodes with each seed, all with enough links before any knows of another seed.
      mesh.add(`n${number}`, { seeds: [`tcp://${seeds[number % 3]}.test:1`] });
      await mesh.pass(100);
    }
    await mesh.pass(MINUTE_MS);
    expect(mesh.parts().length).toBe(3);
    mesh.add('both', { seeds: seeds.map((id) => `tcp://${id}.test:1`) });
    await mesh.pass(5_000);
    expect(mesh.parts().length).toBe(1);
  });

  it('end up in one graph when they could not be reached from each other at the start', async () => {
    const seeds = ['tcp://s1.test:1', 'tcp://s2.test:1'];
    const mesh = new AbstractMesh(14);
    for (let number = 0; number < 30; number++) {
      const id = number < 2 ? `s${number + 1}` : `n${number}`;
      mesh.add(id, { seeds }).group = number % 2;
    }
    await mesh.pass(3 * MINUTE_MS);
    expect(mesh.parts().length).toBe(2);
    mesh.split(() => 0);
    await mesh.pass(75_000);
    expect(mesh.parts().length).toBe(1);
    await mesh.pass(2 * MINUTE_MS);
    expect(degrees(mesh)[0]).toBeGreaterThanOrEqual(LOW);
  });
});

describe('a hub', () => {
  it('accepts sixty nodes that come at once, and has twelve links when they have found each other', async () => {
    const mesh = new AbstractMesh(15);
    const hub = mesh.add('seed');
    for (let number = 0; number < 60; number++) mesh.add(`n${number}`, { seeds: [SEED] });
    await mesh.pass(3_000);
    expect(mesh.parts().length).toBe(1);
    await mesh.pass(2 * MINUTE_MS);
    expect(hub.degree).toBeLessThanOrEqual(12);
    expect(mesh.parts().length).toBe(1);
    const { changes } = mesh;
    await mesh.pass(5 * MINUTE_MS);
    expect(mesh.changes - changes).toBe(0);
  });

  it('keeps links to peers without others', async () => {
    const mesh = new AbstractMesh(16);
    const hub = mesh.add('seed');
    for (let number = 0; number < 30; number++) mesh.add(`n${number}`, { seeds: [SEED], isHidden: true });
    await mesh.pass(3 * MINUTE_MS);
    expect([hub.degree, mesh.parts().length]).toEqual([30, 1]);
  });
});

describe('a node in a network that is too small', () => {
  it('links to a new one within a second or two, however long it has waited', async () => {
    const mesh = new AbstractMesh(21);
    mesh.add('seed');
    const node = mesh.add('node', { seeds: [SEED] });
    await mesh.pass(5 * MINUTE_MS);
    mesh.add('server', { role: 'server', seeds: [SEED] });
    await mesh.pass(2_000);
    expect([...node.links].map(({ peerId }) => peerId)).toContain('server');
  });

  it('joins its seed again within a second after the link was lost', async () => {
    const mesh = new AbstractMesh(22);
    mesh.add('seed', { role: 'server' });
    const node = mesh.add('node', { role: 'server', seeds: [SEED] });
    await mesh.pass(2 * MINUTE_MS);
    mesh.cut(node);
    expect(node.degree).toBe(0);
    await mesh.pass(1_000);
    expect(node.degree).toBe(1);
  });
});

describe('the roles', () => {
  it('differ: a server dials only its seeds, and is found by peers', async () => {
    const mesh = await grown(17, 12);
    const server = mesh.add('server', { role: 'server', seeds: [SEED] });
    const { dials } = mesh;
    await mesh.pass(10_000);
    expect([...server.links].filter(({ direction }) => direction === 'outbound').map(({ peerId }) => peerId)).toEqual([
      'seed',
    ]);
    expect(mesh.dials - dials).toBeGreaterThanOrEqual(1);
    for (const node of mesh.alive) if (node !== server) expect(node.view.isReachable('server')).toBe(true);
    const late = mesh.add('late', { seeds: [SEED] });
    await mesh.pass(20 * MINUTE_MS);
    expect(late.degree).toBeGreaterThanOrEqual(LOW);
    expect([...server.links].every(({ direction, peerId }) => direction === 'inbound' || peerId === 'seed')).toBe(true);
  });

  it('differ: a client has three links at all times, and relays nothing', async () => {
    const mesh = await grown(18, 12);
    const client = mesh.add('client', { role: 'client', seeds: [SEED] });
    await mesh.pass(10_000);
    expect(client.links.size).toBe(3);
    for (let loss = 0; loss < 3; loss++) {
      const [link] = client.links;
      mesh.kill(mesh.nodes.get(link?.peerId as string) as AbstractNode);
      await mesh.pass(20_000);
      expect(client.links.size).toBe(3);
    }
    for (const node of mesh.alive) expect(node.view.isReachable('client')).toBe(false);
  });
});

describe('a node that has not made the links of its own choice', () => {
  it.each([
    ['peer', ACCEPT_ANY_BELOW - RANDOM_KEPT],
    ['server', ACCEPT_ANY_BELOW],
  ] as const)('keeps room for them, as a %s that takes %i others', (role, taken) => {
    const mesh = new AbstractMesh(20);
    const node = new AbstractNode('node', mesh, { role });
    for (let number = 0; number < 20; number++) {
      const peerId = `n${number}`;
      node.view.add(peerId);
      if (!node.neighbourhood.admission.mayAccept({ peerId, purpose: 'mesh', role: 'peer' })) break;
      node.neighbourhood.onLink(new ScriptedLink(peerId, { direction: 'inbound' }));
    }
    expect(node.degree).toBe(taken);
    node.neighbourhood.dispose();
  });
});

describe('a neighbourhood that is stopped', () => {
  it('has no timers, and ignores events', async () => {
    const mesh = new AbstractMesh(19);
    const node = mesh.add('seed', { seeds: ['tcp://nobody.test:1'] });
    await mesh.pass(1_000);
    node.neighbourhood.dispose();
    await mesh.pass(10_000);
    const { dials } = mesh;
    node.neighbourhood.onReachable('x');
    await mesh.pass(MINUTE_MS);
    expect([mesh.dials, mesh.clock.armed]).toEqual([dials, 0]);
  });
});
