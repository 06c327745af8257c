// The option resilience on dials: to peers of the spec, over links and through relays, plain and encrypted.

import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  type BindOptions,
  createNode,
  type DialOptions,
  failover,
  type Node,
  type NodeOptions,
  type ResilienceOptions,
  type Server,
  type ServiceInfo,
  type Socket,
  type StarlaneError,
} from '../../../lib/index.js';
import type { MuxStream } from '../../../lib/mux/stream/stream.js';
import { tryReadOpen } from '../../../lib/wire/open.js';
import { encodeReply, ReplyCode } from '../../../lib/wire/open-reply.js';
import { within } from '../../support/deadline.js';
import { nothingLeft, watchHandles } from '../../support/open-handles.js';
import { RawPeer } from '../../support/raw-peer.js';
import { circuitsOf } from '../../support/relay-net.js';
import { forgets, readToEnd, socketPath } from '../../support/testnet.js';
import { thrownCode } from '../../support/thrown.js';
import { turn, turnsUntil } from '../../support/turns.js';

const nodes: Node[] = [];
let peers: RawPeer[] = [];
/** The time of all policies; timers are real. */
let now = 0;
let warnings: StarlaneError[];

function makeNode(options: NodeOptions = {}): Node {
  const node = createNode({ closeTimeoutMs: 50, rejoinMinMs: 1, rejoinMaxMs: 5, ...options });
  node.on('warning', (error) => warnings.push(error as StarlaneError));
  Reflect.set(Reflect.get(circuitsOf(node).policies, 'owner'), 'now', () => now);
  nodes.push(node);
  return node;
}

/** A node with peers of the spec that offer `echo`. */
async function meet(count: number, resilience?: ResilienceOptions): Promise<Node> {
  const node = makeNode({ resilience });
  for (let index = 0; index < count; index++) await addPeer(node);
  return node;
}

async function addPeer(node: Node): Promise<RawPeer> {
  const peer = new RawPeer(true);
  peers.push(peer);
  const link = node.attach(peer.duplex, { initiator: false });
  await peer.handshake();
  await link;
  const told = once(node, 'service');
  peer.announce('echo');
  await told;
  return peer;
}

async function openOn(peer: RawPeer, index = 0): Promise<MuxStream> {
  await peer.until(() => peer.streams.length > index && tryReadOpen(peer.received(peer.streams[index])) !== undefined);
  return peer.streams[index];
}

function answer(peer: RawPeer, stream: MuxStream, code: number): void {
  stream.accept();
  stream.write(encodeReply({ code, port: 7, at: peer.identity.nodeId, reason: '' }));
  if (code !== ReplyCode.ACCEPTED) stream.end();
}

/** Answers everything that is opened on a peer. */
function answersAll(peer: RawPeer, code: () => number): void {
  let seen = 0;
  const next = async (): Promise<void> => {
    for (;;) {
      const stream = await openOn(peer, seen++);
      answer(peer, stream, code());
    }
  };
  next().catch(() => {});
}

/** The bytes of the user on a stream. */
function sent(peer: RawPeer, stream: MuxStream): string {
  const bytes = peer.received(stream);
  return bytes.subarray(tryReadOpen(bytes)?.bytesRead).toString();
}

async function failure(socket: Socket): Promise<NodeJS.ErrnoException & { cause?: StarlaneError }> {
  const [error] = await within('a failure', once(socket, 'error'));
  return error as NodeJS.ErrnoException & { cause?: StarlaneError };
}

/** Connects and ends. */
async function connected(socket: Socket): Promise<void> {
  await within('connect', once(socket, 'connect'));
  socket.destroy();
}

/** The instances in the order of the peers. */
function inOrder(instances: readonly ServiceInfo[]): ServiceInfo {
  return peers.flatMap(({ identity }) => instances.filter(({ nodeId }) => nodeId === identity.nodeId))[0];
}

const opens = (): number[] => peers.map(({ streams }) => streams.length);

/** One hub, to which all others have joined: circuits between those go through it. */
async function star(count: number, options: NodeOptions, dialler: NodeOptions = {}): Promise<Node[]> {
  const hub = makeNode(options);
  const { address } = await hub.listenAndServe(`unix:${socketPath()}`);
  const client = makeNode({ ...options, ...dialler, role: 'server' });
  const others = Array.from({ length: count }, () => makeNode({ ...options, role: 'server' }));
  await Promise.all([client, ...others].map((node) => node.join(address)));
  return [client, ...others];
}

function serve(node: Node, address: string, text: string, options: BindOptions = {}): Server {
  return node.bind(address, options, (socket) => {
    socket.on('error', () => {});
    socket.end(text);
  });
}

async function read(socket: Socket): Promise<string> {
  return (await within('an answer', readToEnd(socket))).toString();
}

async function knows(node: Node, service: string, count: number): Promise<void> {
  await turnsUntil(`${count} of ${service}`, () => node.serviceMap().get(service).length === count);
}

beforeEach(() => {
  watchHandles();
  peers = [];
  warnings = [];
  now = 1_000;
});
afterEach(async () => {
  for (const peer of peers) peer.session.close();
  await Promise.all(nodes.map((node) => node.close()));
  for (const node of nodes.splice(0)) expect(node.stats()).toMatchObject({ dials: { pending: 0 }, holds: 0 });
  await nothingLeft();
});

/** Over a link, through a relay, and through a relay with end-to-end encryption. */
const WAYS: Array<[string, NodeOptions, DialOptions]> = [
  ['through a relay', {}, {}],
  ['through a relay, encrypted', { secret: 'a secret of more than 16 bytes' }, {}],
];

describe('a circuit breaker', () => {
  const circuitBreaker = { failures: 2, openMs: 1_000 };

  it('fails dials at once after failures, reports when the next one may go, and probes then', async () => {
    const node = await meet(1, { circuitBreaker });
    let code: number = ReplyCode.LIMIT;
    answersAll(peers[0], () => code);
    for (let dial = 0; dial < 2; dial++)
      expect(await failure(node.dial('echo'))).toMatchObject({ code: 'ECONNREFUSED' });
    now += 400;
    const error = await failure(node.dial('echo'));
    expect(error).toMatchObject({
      code: 'ECONNREFUSED',
      syscall: 'connect',
      address: 'echo',
      cause: { code: 'ERR_STARLANE_BREAKER_OPEN', retryAfterMs: 600 },
    });
    expect(error.cause?.message).toContain('let through in 600 ms');
    expect(opens()).toEqual([2]);
    expect(warnings).toMatchObject([{ code: 'ERR_STARLANE_BREAKER_OPEN', retryAfterMs: 1_000 }]);
    expect(node.stats().dials).toMatchObject({ failed: 3, rejected: 1, breakersOpened: 1, openBreakers: 1 });
    now += 600;
    expect((await failure(node.dial('echo'))).cause?.code).not.toBe('ERR_STARLANE_BREAKER_OPEN');
    expect((await failure(node.dial('echo'))).cause?.code).toBe('ERR_STARLANE_BREAKER_OPEN');
    now += 1_000;
    code = ReplyCode.ACCEPTED;
    await connected(node.dial('echo'));
    await connected(node.dial('echo'));
    expect(node.stats().dials).toMatchObject({ breakersOpened: 2, openBreakers: 0 });
    // Once a minute for a service.
    expect(warnings.length).toBe(1);
  });

  it('lets one dial probe at a time, and another one when the user has given that up', async () => {
    const node = await meet(1, { circuitBreaker });
    for (let dial = 0; dial < 2; dial++) {
      const socket = node.dial('echo');
      answer(peers[0], await openOn(peers[0], dial), ReplyCode.LIMIT);
      await failure(socket);
    }
    now += 1_000;
    const probe = node.dial('echo');
    await openOn(peers[0], 2);
    expect((await failure(node.dial('echo'))).cause?.code).toBe('ERR_STARLANE_BREAKER_OPEN');
    probe.destroy();
    const second = node.dial('echo');
    answer(peers[0], await openOn(peers[0], 3), ReplyCode.ACCEPTED);
    await connected(second);
    expect(node.stats().dials.openBreakers).toBe(0);
  });

  it('counts the dial as a whole, not its instances, and not those who may not dial or find nobody', async () => {
    const node = await meet(3, { circuitBreaker });
    const codes: number[] = [ReplyCode.LIMIT, ReplyCode.LIMIT, ReplyCode.ACCEPTED];
    for (const [index, peer] of peers.entries()) answersAll(peer, () => codes[index]);
    for (let dial = 0; dial < 4; dial++) await connected(node.dial('echo', { selector: inOrder }));
    codes.fill(ReplyCode.DENIED);
    for (let dial = 0; dial < 4; dial++) expect((await failure(node.dial('echo'))).code).toBe('EACCES');
    codes.fill(ReplyCode.REFUSED);
    for (let dial = 0; dial < 4; dial++) expect((await failure(node.dial('echo'))).code).toBe('ECONNREFUSED');
    for (let dial = 0; dial < 4; dial++) {
      expect((await failure(node.dial('nobody', { timeoutMs: 5 }))).code).toBe('ENOTFOUND');
    }
    expect(node.stats().dials).toMatchObject({ breakersOpened: 0, openBreakers: 0 });
    // A node that is named has to have it.
    for (let dial = 0; dial < 3; dial++) await failure(node.dial(`@${peers[0].identity.nodeId}:5`));
    expect((await failure(node.dial(`@${peers[0].identity.nodeId}:5`))).cause?.code).toBe('ERR_STARLANE_BREAKER_OPEN');
  });

  it('lets a dial through at once when a new instance comes', async () => {
    const node = await meet(1, { circuitBreaker });
    answersAll(peers[0], () => ReplyCode.LIMIT);
    for (let dial = 0; dial < 2; dial++) await failure(node.dial('echo'));
    expect((await failure(node.dial('echo'))).cause?.code).toBe('ERR_STARLANE_BREAKER_OPEN');
    answersAll(await addPeer(node), () => ReplyCode.ACCEPTED);
    await connected(node.dial('echo'));
    expect(node.stats().dials.openBreakers).toBe(0);
  });

  it.each(WAYS)('of the first service makes a failover dial the second one %s', async (_way, options) => {
    const [client, one, two] = await star(2, options, { resilience: { circuitBreaker } });
    const primary = serve(one, 'primary', 'primary', { maxConnections: 1 });
    primary.maxConnections = 0;
    serve(two, 'replica', 'replica');
    await knows(client, 'primary', 1);
    await knows(client, 'replica', 1);
    const db = failover('primary', 'replica');
    for (let dial = 0; dial < 4; dial++) expect(await read(client.dial(db))).toBe('replica');
    // Two that went on to the next, and two that did not even try.
    expect(client.stats().dials).toMatchObject({ retries: 2, breakersOpened: 1, openBreakers: 1, failed: 0 });
    now += 1_000;
    primary.maxConnections = 5;
    expect(await read(client.dial(db))).toBe('primary');
    expect(client.stats().dials.openBreakers).toBe(0);
  });

  it('and ejections take no part in a drain', async () => {
    const all = {
      circuitBreaker: { failures: 1 },
      outlierEjection: { failures: 1 },
      retryBudget: { ratio: 0, minPerSecond: 0 },
    };
    const [client, one, two] = await star(2, {}, { resilience: all });
    serve(one, 'web', 'one');
    serve(two, 'web', 'two');
    await knows(client, 'web', 2);
    const drained = one.drain();
    const first =
      ({ id }: Node) =>
      (instances: readonly ServiceInfo[]) =>
        instances.find(({ nodeId }) => nodeId === id) ?? instances[0];
    // The directory of the client may not know yet.
    for (let dial = 0; dial < 5; dial++) expect(await read(client.dial('web', { selector: first(one) }))).toBe('two');
    await drained;
    await knows(client, 'web', 1);
    expect(client.stats().dials).toMatchObject({ ejections: 0, breakersOpened: 0, budgetSpent: 0, failed: 0 });
    const ended = two.drain();
    const socket = client.dial('web');
    const refused = read(socket).catch((error) => error.code);
    expect(['ECONNREFUSED', undefined]).toContain(await Promise.race([refused, forgets(client, 'web')]));
    socket.destroy();
    await ended;
    await forgets(client, 'web');
    expect(client.stats().dials.breakersOpened).toBe(0);
  });

  it('works for net.connect, and a dial may have other options or none', async () => {
    const node = await meet(1, { circuitBreaker });
    answersAll(peers[0], () => ReplyCode.LIMIT);
    for (let dial = 0; dial < 2; dial++) await failure(node.net.connect(5, 'echo') as never);
    expect((await failure(node.net.connect(5, 'echo') as never)).cause?.code).toBe('ERR_STARLANE_BREAKER_OPEN');
    // Another port is another address.
    expect((await failure(node.dial('echo:6'))).cause?.code).not.toBe('ERR_STARLANE_BREAKER_OPEN');
    for (const resilience of [false, { circuitBreaker: { failures: 1 } }, {}] as const) {
      expect((await failure(node.dial('echo:5', { resilience }))).cause?.code).not.toBe('ERR_STARLANE_BREAKER_OPEN');
    }
    // Equal options share what they know.
    const same = { circuitBreaker: { failures: 1, openMs: 5_000 } };
    expect((await failure(node.dial('echo:5', { resilience: same }))).cause?.code).toBe('ERR_STARLANE_BREAKER_OPEN');
    expect(thrownCode(() => node.dial('echo', { resilience: 5 as never }))).toBe('ERR_STARLANE_OPTION');
  });

  it('keeps a bounded number of services', async () => {
    const node = await meet(1, { circuitBreaker, hedge: true, retryBudget: true, outlierEjection: true });
    answersAll(peers[0], () => ReplyCode.LIMIT);
    for (let port = 1; port <= 1_100; port++)
      node
        .dial(`echo:${port}`)
        .on('error', () => {})
        .destroy();
    await turn();
    const states = Reflect.get(circuitsOf(node).policies.normal as object, 'states') as { size: number };
    expect(states.size).toBe(512);
  });
});

describe('an outlier ejection', () => {
  const outlierEjection = { failures: 2, ejectMs: 1_000 };

  it('leaves out an instance that fails, for longer each time, and asks it when it is the last', async () => {
    const node = await meet(2, { outlierEjection });
    const codes: number[] = [ReplyCode.LIMIT, ReplyCode.ACCEPTED];
    for (const [index, peer] of peers.entries()) answersAll(peer, () => codes[index]);
    for (let dial = 0; dial < 5; dial++) await connected(node.dial('echo', { selector: inOrder }));
    expect(opens()).toEqual([2, 5]);
    expect(node.stats().dials).toMatchObject({ ejections: 1, ejected: 1, retries: 2 });
    // It is the last resort of a dial.
    codes.reverse();
    await connected(node.dial('echo', { selector: inOrder }));
    expect(opens()).toEqual([3, 6]);
    // And the last one at all.
    peers[1].session.close();
    await knows(node, 'echo', 1);
    await connected(node.dial('echo'));
    expect(opens()[0]).toBe(4);
    now += 1_000;
    expect(node.stats().dials.ejected).toBe(0);
  });

  it('leaves half of the instances, however many fail', async () => {
    const node = await meet(4, { outlierEjection });
    for (const peer of peers) answersAll(peer, () => ReplyCode.LIMIT);
    for (let dial = 0; dial < 2; dial++) await failure(node.dial('echo'));
    expect(node.stats().dials).toMatchObject({ ejections: 4, ejected: 4 });
    const seen: number[] = [];
    const note = (instances: readonly ServiceInfo[]): ServiceInfo => {
      seen.push(instances.length);
      return inOrder(instances);
    };
    await failure(node.dial('echo', { selector: note }));
    expect(seen).toEqual([2, 1, 2, 1]);
  });

  it.each(WAYS)('takes an instance that is not reached %s', async (_way, options) => {
    const [client, one, two] = await star(2, options, { resilience: { outlierEjection } });
    const full = serve(one, 'web', 'one');
    full.maxConnections = 0;
    serve(two, 'web', 'two');
    await knows(client, 'web', 2);
    const first = (instances: readonly ServiceInfo[]): ServiceInfo =>
      instances.find(({ nodeId }) => nodeId === one.id) ?? instances[0];
    for (let dial = 0; dial < 5; dial++) expect(await read(client.dial('web', { selector: first }))).toBe('two');
    expect(client.stats().dials).toMatchObject({ ejections: 1, ejected: 1, retries: 2 });
    full.maxConnections = 10;
    now += 1_000;
    expect(await read(client.dial('web', { selector: first }))).toBe('one');
  });
});

describe('a retry budget', () => {
  it('bounds how many instances are asked, and the dial fails as the last of them did', async () => {
    const node = await meet(4, { retryBudget: { ratio: 1, minPerSecond: 0 } });
    for (const peer of peers) answersAll(peer, () => ReplyCode.LIMIT);
    for (let dial = 0; dial < 5; dial++) expect((await failure(node.dial('echo'))).code).toBe('ECONNREFUSED');
    expect(opens().reduce((sum, count) => sum + count)).toBe(10);
    expect(node.stats().dials).toMatchObject({ started: 5, retries: 5, budgetSpent: 5 });
    now += 10_000;
    await failure(node.dial('echo'));
    expect(node.stats().dials).toMatchObject({ started: 6, retries: 6 });
  });

  it('is that of a destination as a whole', async () => {
    const [client, one, two] = await star(2, {}, { resilience: { retryBudget: { ratio: 0, minPerSecond: 0 } } });
    serve(one, 'primary', 'primary').maxConnections = 0;
    serve(two, 'replica', 'replica');
    await knows(client, 'primary', 1);
    await knows(client, 'replica', 1);
    expect((await failure(client.dial(failover('primary', 'replica')))).code).toBe('ECONNREFUSED');
    expect(client.stats().dials).toMatchObject({ retries: 0, budgetSpent: 1 });
  });
});

describe('a hedged dial', () => {
  it('asks a second instance after the delay, sends the data to the first that answers, and resets the other', async () => {
    const node = await meet(2, { hedge: { delayMs: 1 } });
    const socket = node.dial('echo', { selector: inOrder });
    socket.write('once');
    const [slow, quick] = [await openOn(peers[0]), await openOn(peers[1])];
    expect([sent(peers[0], slow), sent(peers[1], quick)]).toEqual(['', '']);
    answer(peers[1], quick, ReplyCode.ACCEPTED);
    await within('connect', once(socket, 'connect'));
    await peers[1].until(() => sent(peers[1], quick) === 'once');
    await peers[0].until(() => slow.isClosed);
    expect(sent(peers[0], slow)).toBe('');
    expect(node.stats().dials).toMatchObject({ hedges: 1, hedgesWon: 1, retries: 0 });
    socket.destroy();
  });

  it('takes the first instance when that answers first after all, or the second refuses', async () => {
    const node = await meet(2, { hedge: { delayMs: 1 } });
    for (const refuses of [false, true]) {
      const socket = node.dial('echo', { selector: inOrder });
      socket.write('once');
      const index = refuses ? 1 : 0;
      const [slow, quick] = [await openOn(peers[0], index), await openOn(peers[1], index)];
      if (refuses) answer(peers[1], quick, ReplyCode.LIMIT);
      await turn();
      answer(peers[0], slow, ReplyCode.ACCEPTED);
      await within('connect', once(socket, 'connect'));
      await peers[0].until(() => sent(peers[0], slow) === 'once');
      expect(socket.peer?.id).toBe(peers[0].identity.nodeId);
      socket.destroy();
    }
    expect(node.stats().dials).toMatchObject({ hedges: 2, hedgesWon: 0, connected: 2 });
  });

  it('is bounded by its share and by the retry budget, and needs another instance', async () => {
    const cases: Array<[number, ResilienceOptions]> = [
      [1, { hedge: { delayMs: 1 } }],
      [2, { hedge: { delayMs: 1 }, retryBudget: { ratio: 0, minPerSecond: 0 } }],
    ];
    for (const [count, resilience] of cases) {
      peers = [];
      const node = await meet(count, resilience);
      const failed = failure(node.dial('echo', { timeoutMs: 100, selector: inOrder }));
      await openOn(peers[0]);
      expect((await failed).code).toBe('ETIMEDOUT');
      expect(opens()).toEqual(count === 1 ? [1] : [1, 0]);
      for (const peer of peers) peer.session.close();
    }
    peers = [];
    const node = await meet(2, { hedge: { delayMs: 1, maxShare: 0.001 } });
    // All of them are due in one tick.
    const sockets = Array.from({ length: 15 }, () => node.dial('echo', { selector: inOrder }));
    await turnsUntil('ten ask again', () => node.stats().dials.hedges >= 10);
    await turn();
    for (const socket of sockets) socket.destroy();
    // One a second besides the share, over ten seconds.
    expect(node.stats().dials.hedges).toBe(10);
  });

  it.each(WAYS)('asks a second instance %s', async (_way, options) => {
    const [client, one, two] = await star(2, options, { resilience: { hedge: { delayMs: 20 } } });
    let decide: (allowed: boolean) => void = () => {};
    const asked: string[] = [];
    serve(one, 'web', 'one', { allow: () => new Promise((resolve) => (decide = resolve)) });
    two.bind('web', (socket) => {
      socket.once('data', (chunk) => {
        asked.push(chunk.toString());
        socket.end('two');
      });
    });
    await knows(client, 'web', 2);
    const first = (instances: readonly ServiceInfo[]): ServiceInfo =>
      instances.find(({ nodeId }) => nodeId === one.id) ?? instances[0];
    const socket = client.dial('web', { selector: first });
    socket.write('hello');
    expect(await read(socket)).toBe('two');
    expect([asked, socket.peer?.id, socket.peer?.via.length]).toEqual([['hello'], two.id, 1]);
    expect(client.stats().dials).toMatchObject({ hedges: 1, hedgesWon: 1, connected: 1 });
    decide(true);
  });

  it.each(WAYS)('takes the first one when that answers first after all %s', async (_way, options) => {
    const [client, one, two] = await star(2, options, { resilience: { hedge: { delayMs: 20 } } });
    const decisions: Array<(allowed: boolean) => void> = [];
    const slow = { allow: () => new Promise<boolean>((resolve) => decisions.push(resolve)) };
    serve(one, 'web', 'one', slow);
    serve(two, 'web', 'two', slow);
    await knows(client, 'web', 2);
    const first = (instances: readonly ServiceInfo[]): ServiceInfo =>
      instances.find(({ nodeId }) => nodeId === one.id) ?? instances[0];
    const socket = client.dial('web', { selector: first });
    await turnsUntil('both are asked', () => decisions.length === 2);
    decisions[0](true);
    expect(await read(socket)).toBe('one');
    expect([socket.peer?.id, client.stats().dials.hedgesWon]).toEqual([one.id, 0]);
    decisions[1](true);
    // Refused by the one that is left, the dial fails as that does.
    const other = client.dial('web', { selector: first });
    await turnsUntil('both are asked again', () => decisions.length === 4);
    decisions[3](false);
    await turn();
    decisions[2](false);
    expect((await failure(other)).code).toBe('EACCES');
  });
});
