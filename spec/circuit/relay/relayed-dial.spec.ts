// Dials through relays, and how they fail: what the user sees, and why.

import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { DirectLinks } from '../../../lib/circuit/direct-links.js';
import type { ServiceInfo, Socket } from '../../../lib/index.js';
import { within } from '../../support/deadline.js';
import { pattern } from '../../support/frames.js';
import { nothingLeft, watchHandles } from '../../support/open-handles.js';
import { RelayNet, type RelayNetOptions } from '../../support/relay-net.js';
import { readToEnd } from '../../support/testnet.js';
import { turn, turnsUntil } from '../../support/turns.js';

const PORT = 7;

let net: RelayNet;

async function shape(edges: Array<[number, number]>, options?: RelayNetOptions): Promise<void> {
  net = await RelayNet.of(edges, options);
  net.nodes.at(-1)?.bind(`:${PORT}`, { allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  });
}

const LINE: Array<[number, number]> = [
  [0, 1],
  [1, 2],
];
/** Two ways from 0 to 3. */
const DIAMOND: Array<[number, number]> = [
  [0, 1],
  [0, 2],
  [1, 3],
  [2, 3],
];

function dial(options: Parameters<RelayNet['first']['dial']>[1] = {}, port = PORT): Socket {
  return net.first.dial(`@${net.last.id}:${port}`, options as object);
}

async function failure(socket: Socket): Promise<NodeJS.ErrnoException> {
  const [error] = await within('a failure', once(socket, 'error'));
  return error as NodeJS.ErrnoException;
}

function ids(...indices: number[]): string[] {
  return indices.map((index) => net.nodes[index].id);
}

beforeEach(() => watchHandles());
afterEach(async () => {
  await net.close();
  for (const node of net.nodes) expect(node.stats()).toMatchObject({ dials: { pending: 0 }, holds: 0 });
  await nothingLeft();
});

describe('A dial through relays', () => {
  it('sends what was written only when the circuit is open', async () => {
    await shape(LINE);
    const socket = dial();
    socket.write('early');
    expect(socket.connecting).toBe(true);
    expect(String(await once(socket, 'data'))).toBe('early');
    expect(net.relay(1).counters).toMatchObject({ opened: 1, bytes: 10 });
    socket.destroy();
  });

  it('takes the next way when one is dead, and the dialler does not notice', async () => {
    await shape(DIAMOND);
    // Node 1 has lost its way, and no other node knows.
    net.cut(1, 3);
    const socket = dial();
    socket.end('hello');
    expect((await readToEnd(socket)).toString()).toBe('hello');
    expect(net.routes[0].told).toEqual([
      `penalise ${net.nodes[1].id} ${net.last.id}`,
      `reward ${net.nodes[2].id} ${net.last.id}`,
    ]);
    const again = dial();
    await once(again, 'connect');
    expect(again.peer?.via).toEqual(ids(2));
    again.destroy();
  });

  it('cranks back through several nodes', async () => {
    //     1 - 2 - 3
    //   0           6
    //     4 ----- 5
    await shape([
      [0, 1],
      [1, 2],
      [2, 3],
      [3, 6],
      [2, 4],
      [4, 5],
      [5, 6],
    ]);
    net.cut(3, 6);
    const socket = dial();
    await once(socket, 'connect');
    expect(socket.peer?.via).toEqual(ids(1, 2, 4, 5));
    socket.destroy();
  });

  it('shows the server the way it has come, without dead ends', async () => {
    await shape(DIAMOND);
    net.cut(1, 3);
    const far = once(net.last.bind(':8'), 'connection') as Promise<[Socket]>;
    const socket = dial({}, 8);
    const [accepted] = await far;
    expect(accepted.peer).toEqual({ id: net.first.id, service: '', via: ids(2) });
    socket.destroy();
    accepted.on('error', () => {});
    accepted.destroy();
  });

  it('is refused finally by the other end', async () => {
    await shape(DIAMOND);
    const error = await failure(dial({}, 9));
    expect(error).toMatchObject({ code: 'ECONNREFUSED', syscall: 'connect', port: 9 });
    expect(error.cause).toBeUndefined();
    // No node was tried in vain, and the neighbour that brought the answer is not penalised.
    expect(net.routes[0].told).toEqual([`reward ${net.nodes[1].id} ${net.last.id}`]);
    expect(net.relay(2).counters.refused).toBe(0);
  });

  it('is refused finally by a server that is full', async () => {
    await shape(DIAMOND);
    net.last.bind(':10', { maxConnections: 0 });
    expect(await failure(dial({}, 10))).toMatchObject({ code: 'ECONNREFUSED' });
    expect(net.relay(2).counters.refused).toBe(0);
  });

  it.each([
    ['that is not there', { node: {} }, 'EHOSTUNREACH', 'no way to'],
    ['through a node that relays nothing', { nodes: { 1: { relay: false } } }, 'EHOSTUNREACH', 'relays nothing'],
  ])('fails towards a node %s', async (what, options, code, reason) => {
    await shape(LINE, options);
    if (what === 'that is not there') net.graph.delete(net.nodes[1].id, net.last.id);
    const error = await failure(dial());
    expect(error).toMatchObject({ code, syscall: 'connect', address: `@${net.last.id}`, port: PORT });
    expect((error.cause as Error).message).toContain(reason);
    if (what !== 'that is not there') expect((error.cause as Error).message).toContain(net.nodes[1].id);
  });

  it.each([
    ['circuits of a neighbour', { maxCircuitsPerNeighbour: 1 }, '1 circuits of one neighbour'],
    ['circuits of a source', { maxCircuitsPerSource: 1 }, '1 circuits of one source'],
    ['opens', { openBurst: 1, opensPerSecond: 0.001 }, 'opens a second'],
  ])('fails when a relay has taken all the %s that it takes', async (_what, limits, reason) => {
    await shape(LINE, { limits });
    const first = dial();
    await once(first, 'connect');
    const error = await failure(dial());
    expect(error).toMatchObject({ code: 'EHOSTUNREACH', cause: { code: 'ERR_STARLANE_RELAY_LIMIT' } });
    const { message } = error.cause as Error;
    expect(message).toContain(`${net.nodes[1].id} says: `);
    expect(message).toContain(reason);
    first.destroy();
  });

  it('fails when the way is longer than the hop limit', async () => {
    await shape(Array.from({ length: 18 }, (_, index) => [index, index + 1] as [number, number]));
    const error = await failure(dial());
    expect(error).toMatchObject({ code: 'EHOSTUNREACH' });
    expect((error.cause as Error).message).toContain('the hop limit is used up');
    const shorter = net.nodes[1].dial(`@${net.last.id}:${PORT}`);
    await once(shorter, 'connect');
    expect(shorter.peer?.via).toHaveLength(16);
    shorter.destroy();
  });

  it('fails after its own timeout when no node answers, and asks a second time before that', async () => {
    await shape(LINE, { limits: { hopTimeoutMs: 30 } });
    // It takes the stream, and does not answer.
    net.circuits(1).relay.onOpen = (_from, stream) => stream.accept();
    const failed = failure(dial({ timeoutMs: 2000 }));
    expect(await failed).toMatchObject({
      code: 'ETIMEDOUT',
      cause: { code: 'ERR_STARLANE_OPEN_TIMEOUT', message: expect.stringContaining('does not answer') },
    });
    expect(net.routes[0].told).toHaveLength(2);
    expect(await failure(dial({ timeoutMs: 20 }))).toMatchObject({ code: 'ETIMEDOUT' });
  });

  it('succeeds soon when the first relay does not answer and there is another', async () => {
    await shape(DIAMOND, { limits: { hopTimeoutMs: 50 } });
    net.circuits(1).relay.onOpen = (_from, stream) => stream.accept();
    const socket = dial();
    await once(socket, 'connect');
    expect(socket.peer?.via).toEqual(ids(2));
    socket.destroy();
  });

  it('ends everywhere with its socket, and with its signal', async () => {
    await shape(LINE);
    const opens: string[] = [];
    net.circuits(2).bindings.find = () => {
      opens.push('open');
      return undefined;
    };
    net.circuits(1).relay.onOpen = (_from, stream) => stream.accept();
    const socket = dial();
    await turn();
    socket.destroy();
    const aborter = new AbortController();
    const aborted = failure(dial({ signal: aborter.signal }));
    await turn();
    aborter.abort();
    expect(await aborted).toMatchObject({ name: 'AbortError' });
    await turnsUntil('nothing is open', () => net.first.stats().streams.links === 0);
  });
});

describe('A dial by name, of instances behind a relay', () => {
  const FORK: Array<[number, number]> = [
    [0, 1],
    [1, 2],
    [1, 3],
  ];

  /** Prefers the instance at a node. */
  function first(index: number): { selector: (instances: readonly ServiceInfo[]) => ServiceInfo } {
    const { id } = net.nodes[index];
    return { selector: (instances) => instances.find(({ nodeId }) => nodeId === id) ?? instances[0] };
  }

  async function known(count: number): Promise<void> {
    while (net.first.services().filter(({ service }) => service === 'echo').length < count) {
      await once(net.first, 'service');
    }
  }

  it('reaches one, and says which service it is', async () => {
    await shape(LINE);
    const far = once(net.last.bind('echo'), 'connection') as Promise<[Socket]>;
    await known(1);
    const socket = net.first.dial('echo');
    await once(socket, 'connect');
    expect(socket.peer).toEqual({ id: net.last.id, service: 'echo', via: ids(1) });
    const [accepted] = await far;
    expect(accepted.peer?.service).toBe('echo');
    socket.destroy();
    accepted.destroy();
  });

  it.each([
    ['refuses', () => net.nodes[2].bind('echo', { maxConnections: 0 })],
    [
      'is not answered for',
      () => {
        net.nodes[2].bind('echo');
        net.circuits(2).bindings.find = () => undefined;
      },
    ],
  ])('goes on to the next when one %s, with all that was written', async (_what, bind) => {
    await shape(FORK);
    bind();
    net.nodes[3].bind('echo', { allowHalfOpen: true }, (socket) => {
      socket.pipe(socket);
    });
    await known(2);
    const socket = net.first.dial('echo', { ...first(2), allowHalfOpen: true });
    socket.write('written ');
    socket.end('early');
    expect((await readToEnd(socket)).toString()).toBe('written early');
  });

  it('goes on to the next when there is no way to one, even after a while', async () => {
    await shape(FORK, { limits: { hopTimeoutMs: 40 } });
    net.nodes[2].bind('echo');
    net.nodes[3].bind('echo', (socket) => socket.end());
    await known(2);
    // It takes what comes, and does not answer.
    for (const path of Reflect.get(net.circuits(2), 'paths').links.values()) path.acceptor.tryOpen = () => true;
    const socket = net.first.dial('echo', first(2));
    await once(socket, 'connect');
    expect(socket.peer?.id).toBe(net.nodes[3].id);
    socket.destroy();
  });

  it('fails with the last reason when all refuse', async () => {
    await shape(FORK);
    for (const index of [2, 3]) net.nodes[index].bind('echo', { maxConnections: 0 });
    await known(2);
    expect(await failure(net.first.dial('echo'))).toMatchObject({ code: 'ECONNREFUSED', address: 'echo' });
  });
});

describe('A link that is lost', () => {
  it.each([
    [0, 1],
    [1, 2],
    [2, 3],
  ])('between nodes %i and %i ends a circuit at both ends', async (one, other) => {
    net = await RelayNet.line(2);
    const far = once(net.last.bind(`:${PORT}`), 'connection') as Promise<[Socket]>;
    const near = dial();
    const [[accepted]] = await Promise.all([far, once(near, 'connect')]);
    // In the middle of much in both directions.
    near.write(pattern(10_000_000));
    accepted.write(pattern(10_000_000));
    near.resume();
    accepted.resume();
    await turn();
    const failures = [failure(near), failure(accepted)];
    net.cut(one, other);
    for (const [index, error] of (await Promise.all(failures)).entries()) {
      expect(error).toMatchObject({ code: 'ECONNRESET', syscall: 'read' });
      const hops = index === 0 ? one : 3 - other;
      if (hops === 0) continue;
      const where = hops === 1 ? 'a link 1 hop on' : `a link ${hops} hops on`;
      expect(error.cause).toMatchObject({ code: 'ERR_STARLANE_LINK_LOST', message: expect.stringContaining(where) });
    }
    for (const index of [1, 2]) await turnsUntil('relays are idle', () => net.relay(index).counters.circuits === 0);
  });

  it('before the circuit is open does not end the dial, if there is another way', async () => {
    await shape(DIAMOND);
    net.circuits(1).relay.onOpen = (_from, stream) => stream.accept();
    const socket = dial();
    await turn();
    net.cut(0, 1);
    await once(socket, 'connect');
    expect(socket.peer?.via).toEqual(ids(2));
    socket.destroy();
  });
});

describe('The loss of the only link to a node that has not answered', () => {
  const TRIANGLE: Array<[number, number]> = [
    [0, 1],
    [0, 2],
    [1, 2],
  ];

  async function pendingDial(first: string): Promise<Socket> {
    let isFirst = true;
    let tell = (): void => {};
    const asked = new Promise<void>((resolve) => {
      tell = resolve;
    });
    // It takes its time to decide about the first one.
    const allow = (): Promise<boolean> => {
      tell();
      const answer = isFirst ? new Promise<boolean>(() => {}) : Promise.resolve(true);
      isFirst = false;
      return answer;
    };
    await shape(TRIANGLE, { nodes: { 2: { allow } } });
    const socket = dial();
    if (first !== '') socket.write(first);
    await within('the question', asked);
    net.cut(0, 2, true);
    return socket;
  }

  it('sends the dial through a relay when nothing was written', async () => {
    const socket = await pendingDial('');
    await within('a circuit', once(socket, 'connect'));
    expect(socket.peer?.via).toEqual(ids(1));
    socket.destroy();
  });

  it('fails the dial when something was: it may have been read', async () => {
    expect(await failure(await pendingDial('once'))).toMatchObject({ code: 'ECONNRESET' });
  });
});

describe('A relay that closes', () => {
  it('lets all open circuits finish, takes no new ones, and is closed with the last one', async () => {
    await shape(DIAMOND, { nodes: { 1: { closeTimeoutMs: 60_000 } } });
    const sockets = Array.from({ length: 40 }, () => dial({ allowHalfOpen: true }));
    await Promise.all(sockets.map((socket) => once(socket, 'connect')));
    for (const socket of sockets) expect(socket.peer?.via).toEqual(ids(1));
    const closed = net.nodes[1].close();
    // It has announced that it leaves.
    const next = dial();
    await once(next, 'connect');
    expect(next.peer?.via).toEqual(ids(2));
    next.destroy();
    const answers = sockets.map((socket) => readToEnd(socket));
    for (const socket of sockets) socket.end(pattern(100_000));
    for (const answer of await within('all answers', Promise.all(answers))) {
      expect(answer.equals(pattern(100_000))).toBe(true);
    }
    await within('the close', closed);
    expect(net.relay(1).counters).toMatchObject({ circuits: 0, opened: 40, lost: 0 });
  });

  it('lets a circuit finish that is being opened when it begins to close', async () => {
    await shape(LINE, { nodes: { 1: { closeTimeoutMs: 60_000 }, 2: { allow: async () => mayPass } } });
    let allow = (): void => {};
    const mayPass = new Promise<boolean>((resolve) => {
      allow = () => resolve(true);
    });
    const socket = dial({ allowHalfOpen: true });
    await turnsUntil('it is on its way', () => net.relay(1).counters.pending === 1);
    const closed = net.nodes[1].close();
    allow();
    socket.end('hello');
    expect((await readToEnd(socket)).toString()).toBe('hello');
    await within('the close', closed);
  });

  it('resets what is left after closeTimeoutMs, with that reason', async () => {
    await shape(LINE);
    const socket = dial();
    await once(socket, 'connect');
    const failed = failure(socket);
    const closed = net.nodes[1].close();
    socket.write('still there');
    expect(String(await once(socket, 'data'))).toBe('still there');
    expect(await failed).toMatchObject({ code: 'ECONNRESET', cause: { code: 'ERR_STARLANE_CLOSED' } });
    await closed;
  });

  it('closes at once when nothing goes through it', async () => {
    await shape(LINE, { nodes: { 1: { closeTimeoutMs: 60_000 } } });
    await within('the close', net.nodes[1].close());
  });

  it('takes no new circuits once it drains', async () => {
    await shape(DIAMOND);
    const socket = dial();
    await once(socket, 'connect');
    net.relay(1).drain();
    const next = dial();
    await once(next, 'connect');
    expect(next.peer?.via).toEqual(ids(2));
    socket.end('still there');
    expect((await readToEnd(socket)).toString()).toBe('still there');
    next.destroy();
  });
});

describe('A dial that wants a direct link', () => {
  interface Asked extends DirectLinks {
    readonly asked: string[];
    readonly notes: Array<[string, object]>;
    settle: { resolve(): void; reject(error: Error): void };
    signal: AbortSignal | undefined;
  }

  function watch(): Asked {
    const asked: Asked = {
      asked: [],
      notes: [],
      settle: { resolve: () => {}, reject: () => {} },
      signal: undefined,
      request: (nodeId, signal) => {
        asked.asked.push(nodeId);
        asked.signal = signal;
        return new Promise<void>((resolve, reject) => {
          asked.settle = { resolve, reject };
        });
      },
      note: (nodeId, traffic) => asked.notes.push([nodeId, traffic]),
    };
    const { request, note } = asked;
    Object.assign(Reflect.get(net.first, 'mesh').shortcuts, { request, note });
    return asked;
  }

  it('waits for it, and takes it', async () => {
    await shape(LINE);
    const shortcuts = watch();
    const socket = dial({ direct: true });
    await turn();
    expect(shortcuts.asked).toEqual([net.last.id]);
    expect(socket.connecting).toBe(true);
    const [near, far] = [net.first, net.last];
    const { duplexPair } = await import('node:stream');
    const [one, other] = duplexPair();
    await Promise.all([near.attach(one), far.attach(other)]);
    shortcuts.settle.resolve();
    await once(socket, 'connect');
    expect(socket.peer?.via).toEqual([]);
    socket.destroy();
    await turn();
    expect(shortcuts.notes).toEqual([]);
  });

  it.each([
    ['cannot be had', (asked: Asked) => asked.settle.reject(new Error('no address')), 10_000],
    ['takes half of the time', () => {}, 2_000],
  ])('goes through relays when that %s', async (_what, act, timeoutMs) => {
    await shape(LINE);
    const shortcuts = watch();
    const socket = dial({ direct: true, timeoutMs });
    await turn();
    act(shortcuts);
    await once(socket, 'connect');
    expect(socket.peer?.via).toEqual(ids(1));
    expect(shortcuts.signal?.aborted).toBe(true);
    socket.destroy();
  });

  it('ends with its socket', async () => {
    await shape(LINE);
    const shortcuts = watch();
    const socket = dial({ direct: true });
    await turn();
    socket.destroy();
    expect(shortcuts.signal?.aborted).toBe(true);
    shortcuts.settle.resolve();
    await turn();
    expect(net.relay(1).counters.opened).toBe(0);
  });

  it('does not wait when there is a link, or when none is requested', async () => {
    await shape(LINE);
    const shortcuts = watch();
    const relayed = dial();
    await once(relayed, 'connect');
    net.nodes[1].bind(':11', (socket) => socket.end());
    const direct = net.first.dial(`@${net.nodes[1].id}:11`, { direct: true });
    await once(direct, 'connect');
    expect(shortcuts.asked).toEqual([]);
    expect(() => dial({ direct: 1 } as never)).toThrow(expect.objectContaining({ code: 'ERR_STARLANE_OPTION' }));
    relayed.destroy();
    direct.destroy();
  });

  it('notes how busy the way through relays is: opens, open circuits, and bytes now and then', async () => {
    await shape(LINE);
    const { notes } = watch();
    const sockets = [dial({ allowHalfOpen: true }), dial()];
    await Promise.all(sockets.map((socket) => once(socket, 'connect')));
    expect(notes.map(([nodeId]) => nodeId)).toEqual([net.last.id, net.last.id]);
    expect(notes.map(([, traffic]) => traffic)).toEqual([
      { opens: 1, live: 1, relayRttMs: expect.any(Number) },
      { opens: 1, live: 2, relayRttMs: expect.any(Number) },
    ]);
    sockets[0].end(pattern(2_000_000));
    await readToEnd(sockets[0]);
    sockets[1].destroy();
    await turnsUntil('both are over', () => sockets.every(({ destroyed }) => destroyed));
    const traffic = notes.map(([, said]) => said as { bytes?: number; live?: number });
    const bytes = traffic.reduce((sum, said) => sum + (said.bytes ?? 0), 0);
    // Both ways, and windows that grew.
    expect(bytes).toBeGreaterThan(3_000_000);
    expect(bytes).toBeLessThan(8_000_000);
    expect(traffic.length).toBeLessThan(40);
    expect(traffic.at(-1)?.live).toBe(0);
  });
});
