// Circuits of nodes that are members no more.

import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type FormerMember, Membership } from '../../lib/circuit/membership.js';
import type { MemberBook } from '../../lib/identity/member-book.js';
import type { BindOptions, DialOptions, Node, Socket } from '../../lib/index.js';
import { ResetReason } from '../../lib/mux/stream/resets.js';
import type { AllowRequest } from '../../lib/options/allow.js';
import { within } from '../support/deadline.js';
import { FakeClock } from '../support/fake-clock.js';
import { MemberNet, type MemberNetOptions } from '../support/member-net.js';
import { newAuthority, newBook, newMember } from '../support/members.js';
import { nothingLeft, watchHandles } from '../support/open-handles.js';
import { turn, turnsUntil } from '../support/turns.js';

const DAY = 86_400_000;
type Failure = NodeJS.ErrnoException & { cause?: NodeJS.ErrnoException };

describe('the membership of circuits', () => {
  const authority = newAuthority();
  const now = Date.now();
  const [one, other] = [newMember(authority), newMember(authority)];
  let clock: FakeClock;
  let book: MemberBook;
  let formers: FormerMember[];
  let membership: Membership;

  class Circuit {
    ended: unknown[] = [];
    destroy(error: Error, reason: number): void {
      this.ended.push([(error as NodeJS.ErrnoException).code, reason]);
    }
  }

  beforeEach(() => {
    clock = new FakeClock();
    formers = [];
    book = newBook(authority, { now: () => now + clock.now(), statements: [one.statement, other.statement] });
    membership = new Membership(book, 'me', clock, (former) => formers.push(former));
  });

  it('ends those of a revoked node, and no others', () => {
    const [hers, ended, his] = [new Circuit(), new Circuit(), new Circuit()];
    membership.add(one.identity.nodeId, hers);
    membership.add(one.identity.nodeId, ended);
    membership.add(other.identity.nodeId, his);
    membership.delete(one.identity.nodeId, ended);
    book.add(authority.revoke(one.identity.publicKey, now + DAY, now));
    expect(hers.ended).toEqual([['ERR_STARLANE_REVOKED', ResetReason.REVOKED]]);
    expect([ended.ended, his.ended]).toEqual([[], []]);
    expect(formers).toMatchObject([{ nodeId: one.identity.nodeId }]);
    expect(membership.size).toBe(1);
  });

  it('ends those of a node whose certificate has expired, when the book finds out', () => {
    const circuit = new Circuit();
    membership.add(one.identity.nodeId, circuit);
    clock.advance(31 * DAY);
    expect(membership.endOf(one.identity.nodeId)?.code).toBe('ERR_STARLANE_CERTIFICATE_EXPIRED');
    book.sweep();
    expect(circuit.ended).toEqual([['ERR_STARLANE_CERTIFICATE_EXPIRED', ResetReason.EXPIRED]]);
    expect(formers).toHaveLength(2);
  });

  it('ends none when the secret makes the node a member all the same, unless it was revoked', () => {
    const mixed = newBook(authority, {
      now: () => now + clock.now(),
      acceptsSecret: true,
      statements: [one.statement],
    });
    const circuits = new Membership(mixed, 'me', clock, (former) => formers.push(former));
    const circuit = new Circuit();
    circuits.add(one.identity.nodeId, circuit);
    clock.advance(31 * DAY);
    mixed.sweep();
    expect([circuit.ended, formers]).toEqual([[], []]);
    mixed.add(authority.revoke(one.identity.publicKey, now + 60 * DAY, now));
    expect(circuit.ended).toEqual([['ERR_STARLANE_REVOKED', ResetReason.REVOKED]]);
  });

  it('ends them over many turns, also those that are listed meanwhile', () => {
    const { nodeId, publicKey } = one.identity;
    const circuits = Array.from({ length: 2500 }, () => new Circuit());
    for (const circuit of circuits) membership.add(nodeId, circuit);
    const ended = (): number => circuits.filter((circuit) => circuit.ended.length > 0).length;
    book.add(authority.revoke(publicKey, now + DAY, now));
    expect(ended()).toBe(1000);
    book.add(authority.revoke(other.identity.publicKey, now + DAY, now));
    expect(ended()).toBe(1000);
    const late = new Circuit();
    membership.add(nodeId, late);
    clock.runImmediates();
    expect(ended()).toBe(2000);
    clock.runImmediates();
    expect([ended(), late.ended.length, membership.size, clock.immediatesWaiting]).toEqual([2500, 1, 0, 0]);
  });

  it('has no faults of members, nor of the node itself', () => {
    expect(membership.faultOf(one.identity.nodeId)).toBeUndefined();
    expect(membership.faultOf('me')).toBeUndefined();
    const stranger = newMember(authority).identity.nodeId;
    expect(membership.faultOf(stranger)?.code).toBe('ERR_STARLANE_CERTIFICATE');
    expect(membership.endOf(stranger)).toBeUndefined();
  });

  it('remembers what was certified of a node that is no member any more', () => {
    const certified = membership.certifiedLater(one.identity.nodeId);
    expect(certified()).toEqual({ name: 'member', tags: [] });
    const renewed = newMember(authority, { name: 'renamed', tags: ['ops'] }, now + 1000, one.identity);
    clock.advance(1000);
    book.add(renewed.statement);
    expect(certified()).toEqual({ name: 'renamed', tags: ['ops'] });
    book.add(authority.revoke(one.identity.publicKey, now + DAY, now));
    expect(membership.certified(one.identity.nodeId).name).toBeUndefined();
    expect(certified()).toEqual({ name: 'renamed', tags: ['ops'] });
  });
});

describe('In a network with members,', () => {
  let net: MemberNet;

  async function line(relays: number, options?: MemberNetOptions): Promise<void> {
    net = await MemberNet.line(relays, options);
  }

  function dial(options: DialOptions = {}, node: Node = net.first): Socket {
    return node.dial(`@${net.last.id}:1007`, options);
  }

  /** Both ends of a circuit. */
  async function connect(options: DialOptions = {}, bound: BindOptions = {}): Promise<[near: Socket, far: Socket]> {
    const server = net.last.bind(':1007', bound);
    const accepted = once(server, 'connection') as Promise<[Socket]>;
    const near = dial(options);
    await within('a connection', once(near, 'connect'));
    const [far] = await within('a connection', accepted);
    return [near, far];
  }

  function failures(sockets: readonly Socket[]): Promise<Failure[]> {
    return within('failures', Promise.all(sockets.map(async (socket) => (await once(socket, 'error'))[0] as Failure)));
  }

  beforeEach(() => watchHandles());
  afterEach(async () => {
    await net.close();
    for (const node of net.net.nodes) {
      expect(node.stats()).toMatchObject({ dials: { pending: 0 }, relay: { circuits: 0, pending: 0 }, holds: 0 });
    }
    for (let index = 0; index < net.members.length; index++) {
      await turnsUntil('no circuit is listed', () => net.net.circuits(index).membership?.size === 0);
    }
    await nothingLeft();
  });

  it.each([1, 3])('a circuit through %d relays is secure, and both ends know the other by name', async (relays) => {
    await line(relays, { members: { 0: { name: 'ada', tags: ['ops', 'eu'] } } });
    const [near, far] = await connect();
    for (const socket of [near, far]) expect(socket).toMatchObject({ secure: true, verified: true });
    expect(far.peer).toMatchObject({ id: net.first.id, name: 'ada', tags: ['ops', 'eu'] });
    expect(near.peer).toMatchObject({ id: net.last.id, name: `n${relays + 1}` });
    expect(near.peer).not.toHaveProperty('tags');
    near.destroy();
    far.destroy();
  });

  it('a circuit through a member without the right to relay is refused by the next node', async () => {
    await line(1, { members: { 1: { rights: { relay: false } } } });
    net.last.bind(':1007', (socket) => socket.end());
    const [error] = await failures([dial()]);
    expect(error.code).toBe('EHOSTUNREACH');
    expect(error.cause?.message).toContain(`${net.net.nodes[1].id} may not relay`);
  });

  it('a name says nothing of a circuit that is not verified', async () => {
    const requests: AllowRequest[] = [];
    await line(1, { nodes: { 2: { allow: (request) => requests.push(request) > 0 } } });
    const [near, far] = await connect({ secure: false });
    expect(far.peer).toEqual({ id: net.first.id, service: '', via: [net.net.nodes[1].id] });
    expect(requests[0].peer).toMatchObject({ name: undefined, tags: [], verified: false });
    near.destroy();
    far.destroy();
  });

  it.each<[string, number, DialOptions, boolean]>([
    ['a link', 0, {}, true],
    ['a link, secure', 0, { secure: true }, true],
    ['a relay', 1, {}, true],
    ['a relay, plain', 1, { secure: false }, false],
  ])('rules know tags over %s', async (_what, relays, options, isAllowed) => {
    await line(relays, {
      members: { 0: { tags: ['ops'] } },
      nodes: { [relays + 1]: { allow: [{ tag: 'ops', name: 'n0' }, { direction: 'bind' }] } },
    });
    net.last.bind(':1007', (socket) => socket.end());
    const socket = dial(options);
    if (isAllowed) await within('a connection', once(socket, 'connect'));
    else expect(await failures([socket])).toMatchObject([{ code: 'EACCES' }]);
    socket.destroy();
    const [other] = await failures([net.net.nodes[relays].dial(`@${net.last.id}:8`)]);
    expect(other.code).toBe('ECONNREFUSED');
  });

  it('a relay can tell by tags whose circuits may pass, and says in its name that it denies one', async () => {
    await line(3, {
      members: { 0: { tags: ['ops'] }, 2: { name: 'gate' } },
      nodes: { 2: { relay: [{ tag: 'ops', service: '' }] } },
    });
    const [near, far] = await connect();
    near.destroy();
    far.destroy();
    // What is not encrypted is signed all the same.
    const plain = dial({ secure: false });
    await within('a connection', once(plain, 'connect'));
    plain.destroy();
    const [other] = await failures([dial({}, net.net.nodes[1])]);
    expect(other.code).toBe('EACCES');
    expect(other.cause?.message).toBe(`${net.net.nodes[2].id} (gate) says: no relay rule of the node allows it`);
  });

  it.each<[string, DialOptions, number[]]>([
    ['the server hears of it', {}, [4]],
    ['the dialler hears of it', {}, [0]],
    ['only a relay hears of it', {}, [2]],
    ['all hear of it', {}, [0, 1, 2, 3, 4]],
    ['only a relay hears of it, and the circuit is plain', { secure: false }, [2]],
    ['the server hears of it, and the circuit is plain', { secure: false }, [4]],
  ])('a circuit of a revoked member ends when %s', async (_what, options, informed) => {
    await line(3);
    const sockets = await connect(options);
    const failed = failures(sockets);
    const [revoked] = informed[0] === 0 ? [4] : [0];
    const statement = net.revocationOf(revoked);
    for (const index of informed) net.book(index).add(statement);
    for (const error of await failed) {
      expect(error).toMatchObject({ code: 'ECONNRESET', cause: { code: 'ERR_STARLANE_REVOKED' } });
    }
    for (const index of [1, 2, 3]) {
      await turnsUntil('no relay has it', () => net.net.relay(index).counters.circuits === 0);
    }
  });

  it('so does one to it, at a relay', async () => {
    await line(1);
    const failed = failures(await connect());
    net.book(1).add(net.revocationOf(2));
    for (const error of await failed) expect(error.cause?.code).toBe('ERR_STARLANE_REVOKED');
  });

  it.each([1, 2])('a circuit ends when a certificate expires, as node %d finds out', async (index) => {
    await line(1, { members: { 0: { lifetimeMs: DAY } } });
    const sockets = await connect();
    const failed = failures(sockets);
    net.pass(2 * DAY);
    net.book(index).sweep();
    for (const error of await failed) {
      expect(error).toMatchObject({ code: 'ECONNRESET', cause: { code: 'ERR_STARLANE_CERTIFICATE_EXPIRED' } });
    }
  });

  it('a circuit of somebody else lasts', async () => {
    await line(2);
    const [near, far] = await connect();
    for (const index of [0, 1, 3]) net.book(index).add(net.revocationOf(2));
    near.write('hello');
    expect(String(await within('data', once(far, 'data')).then(([chunk]) => chunk))).toBe('hello');
    near.destroy();
    far.destroy();
  });

  it('what waits in a relay for a slow reader is lost with the membership', async () => {
    await line(1);
    const [near, far] = await connect({ secure: false }, { pauseOnConnect: true } as BindOptions);
    near.end(Buffer.alloc(4_000_000));
    await turnsUntil('the relay holds some', () => net.net.relay(1).heldBytes > 0);
    const failed = failures([far]);
    net.book(1).add(net.revocationOf(0));
    near.on('error', () => {});
    expect((await failed)[0].cause?.code).toBe('ERR_STARLANE_REVOKED');
    near.destroy();
  });

  it.each<[string, DialOptions]>([
    ['plain', { secure: false }],
    ['secure', { secure: true }],
  ])('a %s dial that waits to be allowed ends with the membership', async (_what, options) => {
    await line(1, {
      nodes: { 2: { allow: ({ direction }) => (direction === 'bind' ? true : new Promise(() => {})) } },
    });
    net.last.bind(':1007');
    const socket = dial(options);
    const failed = failures([socket]);
    const { authorizations } = acceptorOf(2);
    await turnsUntil('it waits', () => authorizations.size === 1);
    net.book(2).add(net.revocationOf(0));
    expect(authorizations.size).toBe(0);
    expect((await failed)[0].code).toMatch(/^E(HOSTUNREACH|CONNREFUSED|ACCES)$/);
  });

  it('the dialler gives up a dial to a node that is revoked meanwhile', async () => {
    await line(1, {
      nodes: { 2: { allow: ({ direction }) => (direction === 'bind' ? true : new Promise(() => {})) } },
    });
    net.last.bind(':1007');
    const failed = failures([dial()]);
    await turnsUntil('it waits', () => acceptorOf(2).authorizations.size === 1);
    net.book(0).add(net.revocationOf(2));
    expect(await failed).toMatchObject([{ code: 'EHOSTUNREACH', cause: { code: 'ERR_STARLANE_REVOKED' } }]);
  });

  it('a relay gives up a dial whose source is revoked meanwhile', async () => {
    await line(1, {
      nodes: { 2: { allow: ({ direction }) => (direction === 'bind' ? true : new Promise(() => {})) } },
    });
    net.last.bind(':1007');
    const failed = failures([dial()]);
    await turnsUntil('it waits', () => acceptorOf(2).authorizations.size === 1);
    net.book(1).add(net.revocationOf(0));
    const [error] = await failed;
    expect(error.code).toBe('EACCES');
    expect(error.cause?.message).toContain(`(n1) says: the membership of a node was revoked: ${net.first.id}`);
    await turnsUntil('nothing waits', () => acceptorOf(2).authorizations.size === 0);
  });

  it.each<[string, number, number, number, RegExp]>([
    ['the server refuses a revoked source', 0, 2, 2, /\(n2\) says: the membership of a node was revoked/],
    ['a relay refuses a revoked source', 0, 1, 1, /\(n1\) says: the membership of a node was revoked/],
    ['a relay refuses a revoked destination', 2, 1, 1, /\(n1\) says: the membership of a node was revoked/],
  ])('%s, and says so', async (_what, revoked, informed, denies, sentence) => {
    await line(1, {
      nodes: {
        2: {
          allow: () => {
            throw new Error('not asked');
          },
        },
      },
    });
    net.last.bind(':1007', () => {});
    net.book(informed).add(net.revocationOf(revoked));
    const [error] = await failures([dial()]);
    expect(error.code).toBe('EACCES');
    expect(error.cause?.message).toMatch(sentence);
    expect(error.cause?.message).toContain(net.net.nodes[denies].id);
  });

  it('the dialler refuses a destination that is no member', async () => {
    await line(1);
    net.last.bind(':1007', () => {});
    net.book(0).add(net.revocationOf(2));
    const [error] = await failures([dial()]);
    expect(error).toMatchObject({ code: 'EHOSTUNREACH', cause: { code: 'ERR_STARLANE_REVOKED' } });
    expect(net.net.relay(1).counters.opened).toBe(0);
    net.pass(60 * DAY);
    const [expired] = await failures([net.net.nodes[1].dial(`@${net.last.id}:1007`)]);
    expect(expired).toMatchObject({ code: 'EHOSTUNREACH', cause: { code: 'ERR_STARLANE_CERTIFICATE_EXPIRED' } });
  });

  it('a node can still dial itself when its certificate has expired', async () => {
    await line(0);
    net.pass(60 * DAY);
    net.last.bind(':1007', (socket) => socket.end());
    const socket = dial({}, net.last);
    await within('a connection', once(socket, 'connect'));
    socket.destroy();
    await turn();
  });

  it('a key that is not the certified one proves nothing', async () => {
    await line(1);
    net.last.bind(':1007', () => {});
    const other = newMember(net.authority).identity.publicKey;
    const book = net.book(2);
    const member = book.member.bind(book);
    // As if another key had the same id.
    book.member = (nodeId) => {
      const found = member(nodeId);
      return found === undefined || nodeId !== net.first.id ? found : { ...found, publicKey: other };
    };
    const [error] = await failures([dial()]);
    expect(error).toMatchObject({ code: 'EHOSTUNREACH', cause: { code: 'ERR_STARLANE_SECURE' } });
  });

  function acceptorOf(index: number): { authorizations: { size: number } } {
    const { paths } = net.net.circuits(index) as unknown as {
      paths: { all(): Iterable<{ acceptor: { authorizations: { size: number } } }> };
    };
    const [{ acceptor }] = [...paths.all()];
    return acceptor;
  }
});
