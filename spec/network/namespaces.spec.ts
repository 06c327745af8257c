// Nodes whose packets get lost between network namespaces: in one direction, between two parts, or all packets to one of them.

import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { Member } from '../scenario/mesh/member.js';
import { breakWithReset, DIAL_MS } from '../scenario/mesh/mesh.js';
import { within } from '../support/deadline.js';
import { describeWithNamespaces, Namespaces } from './namespaces.js';

/** Short, as only silence indicates such a loss. */
const OPTIONS = {
  role: 'server',
  insecure: true,
  keepAliveMs: 200,
  keepAliveTimeoutMs: 1_000,
  handshakeTimeoutMs: 1_000,
  rejoinMinMs: 50,
  rejoinMaxMs: 300,
};
const NAMES = ['a', 'b', 'c'] as const;
const KEYS = [1, 2, 3, 4];

describeWithNamespaces('Three nodes, each linked to the others, with a router between them', () => {
  let network: Namespaces;
  let a: Member;
  let b: Member;
  let c: Member;

  beforeEach(async () => {
    network = new Namespaces(NAMES);
    const start = (name: string, services: string[]) =>
      Member.start({
        options: OPTIONS,
        listen: `tcp://${network.addressOf(name)}:0`,
        services,
        enter: network.enter(name),
      });
    [a, b, c] = await Promise.all([start('a', ['near']), start('b', ['far']), start('c', [])]);
    await Promise.all([a.join(b), a.join(c), b.join(c)]);
    await Promise.all([a.waitFor('far'), b.waitFor('near'), c.waitFor('far'), c.waitFor('near')]);
  });

  afterEach(async () => {
    const members = [a, b, c].filter((member) => member !== undefined);
    const faults = members.flatMap((member) => member.faults());
    await Promise.all(members.map((member) => member.stop()));
    network.remove();
    expect(faults).toEqual([]);
  });

  it('use the third node as a relay while packets between two are lost, and the direct link after that', async () => {
    const streams = await a.open('far', KEYS);
    expect(streams.map(({ via }) => via)).toEqual(KEYS.map(() => []));

    network.cut('a', 'b');
    await breakWithReset({ client: a, service: b, streams }, KEYS);
    expect((await a.dial('far', DIAL_MS)).via).toEqual([c.nodeId]);
    const relayed = await a.open('far', [5, 6]);
    expect(relayed.map(({ via }) => via)).toEqual([[c.nodeId], [c.nodeId]]);

    network.heal('a', 'b');
    await within('a link again', a.linked(b));
    await within('the straight way', a.waitForHops('far', 1));
    expect((await a.dial('far', DIAL_MS)).via).toEqual([]);
    await a.carry([5, 6]);
    expect(await a.finish()).toBe(2);
  });

  it('forget each other in the parts of a split, and find each other when it heals', async () => {
    const [lost, kept] = [
      await a.open('far', KEYS),
      await c.open(
        'far',
        KEYS.map((key) => key + 100),
      ),
    ];
    const flows = (['b', 'c'] as const).flatMap((other) => [['a', other] as const, [other, 'a'] as const]);
    for (const [from, to] of flows) network.cut(from, to);
    await Promise.all([a.forgets('far'), b.forgets('near'), c.forgets('near')]);
    await breakWithReset({ client: a, service: b, streams: lost }, KEYS);
    await c.carry(kept.map(({ key }) => key));

    for (const [from, to] of flows) network.heal(from, to);
    await Promise.all([a.waitFor('far'), b.waitFor('near'), c.waitFor('near')]);
    await a.carry((await a.open('far', [9])).map(({ key }) => key));
    await Promise.all([a.finish(), c.finish()]);
  });

  it('notice a node that receives nothing, and one that sends nothing either', async () => {
    for (const isMute of [false, true]) {
      network.silence('b');
      if (isMute) for (const other of ['a', 'c']) network.cut('b', other);
      await Promise.all([a.forgets('far'), c.forgets('far'), b.forgets('near')]);
      network.unsilence('b');
      if (isMute) for (const other of ['a', 'c']) network.heal('b', other);
      await Promise.all([a.waitFor('far'), c.waitFor('far'), b.waitFor('near')]);
      expect((await a.dial('far', DIAL_MS)).code).toBeUndefined();
    }
  });
});
