import { describe, expect, it } from '@jest/globals';
import type { StarlaneError } from '../../../lib/errors.js';
import { LOW } from '../../../lib/mesh/neighbours/degree.js';
import { type Applicant, LinkAdmission } from '../../../lib/mesh/neighbours/link-admission.js';
import { Neighbours } from '../../../lib/mesh/neighbours/neighbours.js';
import type { NodeRole } from '../../../lib/options/options.js';
import { MINUTE_MS, Scene, ScriptedLink, SELF } from '../scripted-network.js';

class Door extends Scene {
  readonly neighbours = new Neighbours(SELF, this.view);
  readonly admission: LinkAdmission;
  readonly shed: string[] = [];

  /** A server makes no links by itself. */
  constructor(role: NodeRole = 'server') {
    super();
    this.admission = new LinkAdmission(this.share({ neighbours: this.neighbours }, role));
  }

  /** A link that is up to a node with `others` other links. */
  link(peerId: string, part: Partial<ScriptedLink> & { others?: number } = {}): ScriptedLink {
    const { others = 0, ...rest } = part;
    this.view.add(peerId, { others });
    const link = new ScriptedLink(peerId, { direction: 'inbound', ...rest });
    link.onEnd = () => {
      if (link.end === 'shed') this.shed.push(peerId);
      this.neighbours.remove(link);
    };
    this.neighbours.add(link, this.clock.now());
    this.admission.onLink();
    return link;
  }

  fill(count: number, part: Partial<ScriptedLink> & { others?: number } = {}): ScriptedLink[] {
    return Array.from({ length: count }, () => this.link(`p${this.neighbours.degree}`, part));
  }

  takes(part: Partial<Applicant> & { others?: number } = {}): boolean {
    const { others, ...rest } = part;
    if (others !== undefined) this.view.add('x', { others });
    return this.admission.mayAccept({ peerId: 'x', purpose: 'mesh', role: 'peer', ...rest });
  }
}

describe('a link that a peer makes', () => {
  it('is accepted from any node up to eight links', () => {
    const door = new Door();
    door.fill(7);
    expect(door.takes({ others: 5 })).toBe(true);
    door.fill(1);
    expect(door.takes({ others: 5 })).toBe(false);
  });

  it('is accepted from any node as long as there is room for the links that this node will make', () => {
    const door = new Door('peer');
    door.fill(6);
    expect(door.takes({ others: 5 })).toBe(true);
    door.fill(1);
    expect([door.takes({ others: 5 }), door.takes({ others: 1 })]).toEqual([false, true]);
  });

  it('is accepted up to twelve links from a node with one other', () => {
    const door = new Door();
    door.fill(11);
    expect([door.takes({ others: 1 }), door.takes({ others: 2 })]).toEqual([true, false]);
    door.fill(1);
    expect(door.takes({ others: 1 })).toBe(false);
  });

  it('is accepted from a node without other links, and from one that is out of reach', () => {
    const door = new Door();
    door.fill(20);
    expect([door.takes(), door.takes({ others: 0 })]).toEqual([true, true]);
    door.view.add('x', { others: 5 });
    expect(door.takes()).toBe(false);
    door.view.reached.delete('x');
    expect(door.takes()).toBe(true);
    door.fill(107);
    expect(door.takes()).toBe(true);
    // One more could not be announced, and no other node would know it.
    door.fill(1);
    expect(door.takes()).toBe(false);
    expect(door.warnings.map((error) => (error as StarlaneError).code)).toEqual(['ERR_STARLANE_LINK_LIMIT']);
  });

  it('is accepted by a hub up to 64 links from a node with one other', async () => {
    const door = new Door();
    door.fill(20);
    expect(door.takes({ others: 1 })).toBe(false);
    door.takes({ peerId: 'newcomer' });
    expect(door.takes({ others: 1 })).toBe(true);
    door.fill(44);
    expect(door.takes({ others: 1 })).toBe(false);
    await door.pass(11 * MINUTE_MS, MINUTE_MS);
    for (const { link } of door.neighbours.mesh().slice(20)) link.close();
    expect(door.takes({ others: 1 })).toBe(false);
    door.link('joined', { purpose: 'join' });
    expect(door.takes({ others: 1 })).toBe(true);
  });

  it('is accepted whenever a user has made it, or the peer has one already', () => {
    const door = new Door();
    door.fill(300);
    expect(door.takes({ purpose: 'join', others: 5 })).toBe(true);
    expect(door.takes({ peerId: 'p3' })).toBe(true);
    expect(door.takes({ others: 5 })).toBe(false);
  });

  it('is accepted from 256 clients, which do not count as mesh links', () => {
    const door = new Door();
    for (let number = 0; number < 255; number++) door.link(`client-${number}`, { role: 'client' });
    expect([door.takes({ role: 'client' }), door.takes({ others: 5 }), door.neighbours.degree]).toEqual([
      true,
      true,
      0,
    ]);
    door.link('client-255', { role: 'client' });
    expect(door.takes({ role: 'client' })).toBe(false);
  });
});

describe('a hub with more links than twelve', () => {
  it('sheds six at once every ten seconds, to peers with enough other links, until twelve are left', async () => {
    const door = new Door();
    door.fill(20, { others: LOW });
    const counts: number[] = [];
    for (const ms of [9_900, 200, 9_800, 200, MINUTE_MS]) {
      await door.pass(ms);
      counts.push(door.shed.length);
    }
    expect(counts).toEqual([0, 6, 6, 8, 8]);
    expect([door.neighbours.degree, door.clock.armed]).toEqual([12, 0]);
  });

  it('sheds none when one has gone by itself meanwhile', async () => {
    const door = new Door();
    const links = door.fill(13, { others: 5, streams: 1 });
    await door.pass(5_500);
    for (const link of links) link.streams = 0;
    links[0]?.close();
    await door.pass(2_000);
    expect([door.shed, door.neighbours.degree]).toEqual([[], 12]);
  });

  it('sheds no peer that needs it, is busy, was linked by a user, or was picked by this node', async () => {
    const door = new Door();
    door.fill(5, { others: LOW - 1 });
    door.fill(5, { others: 5, streams: 1 });
    door.fill(5, { others: 5, purpose: 'join' });
    for (const link of door.fill(5, { others: 5 })) door.neighbours.choose(link, 'near');
    await door.pass(MINUTE_MS, 500);
    expect(door.shed).toEqual([]);
  });

  it('sheds faster when newcomers have come faster', async () => {
    const door = new Door();
    door.fill(164, { others: 5 });
    await door.pass(900);
    expect(door.shed).toEqual([]);
    await door.pass(700);
    expect(door.neighbours.degree).toBe(64);
    await door.pass(10_000);
    expect(door.neighbours.degree).toBe(58);
  });

  it('does not wait for the links that it would have shed later', async () => {
    const door = new Door();
    door.fill(20, { others: 5 });
    await door.pass(5_500);
    door.fill(100, { others: 0 });
    await door.pass(2_100);
    expect(door.shed.length).toBe(20);
  });

  it('stops with the node', async () => {
    const door = new Door();
    door.fill(20, { others: 5 });
    door.admission.dispose();
    await door.pass(MINUTE_MS, 1_000);
    door.admission.onLink();
    expect([door.shed, door.clock.armed]).toEqual([[], 0]);
  });
});

describe('the links that are announced', () => {
  const ids = (door: Door): string[] => door.admission.announced().map(({ peerId }) => peerId);

  it('are those of users and of the mesh to nodes whose record is here', () => {
    const door = new Door();
    door.link('joined', { purpose: 'join' });
    door.link('mesh');
    door.link('shortcut', { purpose: 'direct' });
    door.link('client', { role: 'client' });
    door.link('unknown');
    door.view.records.delete('unknown');
    expect(ids(door)).toEqual(['joined', 'mesh']);
    door.view.add('unknown');
    expect(ids(door)).toEqual(['joined', 'mesh', 'unknown']);
  });

  it('are 128 at most, those of needy peers first', () => {
    const door = new Door();
    door.fill(150, { others: 5 });
    const needy = ['a', 'b', 'c'];
    for (const id of needy) door.link(id, { others: 1 });
    const announced = ids(door);
    expect(announced.length).toBe(128);
    expect(announced).toEqual(expect.arrayContaining(needy));
  });

  it('are a reason for a warning when they are more, once an hour', async () => {
    const door = new Door();
    door.fill(128);
    ids(door);
    expect(door.warnings).toEqual([]);
    for (let number = 0; number < 3; number++) door.link(`joined ${number}`, { purpose: 'join' });
    for (let minute = 0; minute < 59; minute++) {
      ids(door);
      await door.pass(MINUTE_MS, MINUTE_MS);
    }
    expect(door.warnings).toHaveLength(1);
    expect(door.warnings[0]).toMatchObject({ code: 'ERR_STARLANE_LINK_LIMIT' });
    expect(door.warnings[0].message).toContain('3 of 131');
    await door.pass(MINUTE_MS, MINUTE_MS);
    door.link('joined later', { purpose: 'join' });
    ids(door);
    expect(door.warnings).toHaveLength(2);
    expect(door.warnings[1].message).toContain('4 of 132');
  });

  it('stay the same when another comes that needs it no more than they', () => {
    const door = new Door();
    door.fill(150, { others: 5 });
    const before = new Set(ids(door));
    door.link('p0a', { others: 5 });
    expect(new Set(ids(door))).toEqual(before);
    door.link('needy', { others: 0 });
    const after = ids(door);
    expect(after).toContain('needy');
    expect(after.filter((id) => !before.has(id))).toEqual(['needy']);
    door.view.add('needy', { others: 5 });
    expect(new Set(ids(door))).toEqual(new Set(after));
  });
});
