// A node drains: what it refuses, what goes on, what others see, and when it is done.

import { once } from 'node:events';
import { createServer, get } from 'node:http';
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Routes } from '../../lib/circuit/paths.js';
import { agent } from '../../lib/http/index.js';
import { createNode, type Node, type NodeOptions, type ServiceInfo, type Socket } from '../../lib/index.js';
import { within } from '../support/deadline.js';
import { nothingLeft, watchHandles } from '../support/open-handles.js';
import { forgets, knows, readToEnd, socketPath } from '../support/testnet.js';
import { turnsUntil } from '../support/turns.js';

/** Turns for what takes a second or so: a redundant link is announced that late. */
const LONG = 10_000_000;

const nodes: Node[] = [];

/** A node that makes no links by itself. */
function makeNode(options: NodeOptions = {}): Node {
  const node = createNode({ role: 'server', closeTimeoutMs: 200, rejoinMinMs: 1, rejoinMaxMs: 5, ...options });
  nodes.push(node);
  return node;
}

/** Links every node of `from` to every node of `to`. */
async function link(from: readonly Node[], to: readonly Node[]): Promise<void> {
  for (const node of to) {
    const { address } = await node.listenAndServe(`unix:${socketPath()}`);
    await Promise.all(from.map((other) => other.join(address)));
  }
}

/** A client and nodes that serve `echo`, with a link to each. */
async function served(count: number, options: NodeOptions = {}): Promise<[Node, ...Node[]]> {
  const [client, ...servers] = Array.from({ length: count + 1 }, () => makeNode(options));
  for (const server of servers) server.bind('echo', { allowHalfOpen: true }, echo);
  await link([client], servers);
  await turnsUntil('all are known', () => instances(client).length === count, LONG);
  return [client, ...servers];
}

function echo(socket: Socket): void {
  socket.on('error', () => {});
  socket.pipe(socket);
}

function instances(node: Node): string[] {
  return node
    .services()
    .filter(({ service }) => service === 'echo')
    .map(({ nodeId }) => nodeId);
}

async function connected(node: Node, address: string): Promise<Socket> {
  const socket = node.dial(address);
  await within('a circuit', once(socket, 'connect'));
  return socket;
}

async function answer(socket: Socket, text: string): Promise<string> {
  socket.write(text);
  const [chunk] = await within('an answer', once(socket, 'data'));
  return String(chunk);
}

async function end(socket: Socket): Promise<void> {
  socket.end();
  await within('the end', readToEnd(socket));
}

/** The neighbours through which circuits may go. */
function hopsTo(from: Node, to: Node): readonly string[] {
  const { routing } = Reflect.get(from, 'mesh') as { routing: Routes };
  return routing.nextHops(to.id, 0, [], false);
}

/** Takes one node first, if it is there. */
function preferring(node: Node): (services: readonly ServiceInfo[]) => ServiceInfo {
  return (services) => services.find(({ nodeId }) => nodeId === node.id) ?? services[0];
}

/** Notes whether a promise has resolved. */
function watch(promise: Promise<unknown>): { isDone: boolean } {
  const watched = { isDone: false };
  void promise.then(() => {
    watched.isDone = true;
  });
  return watched;
}

beforeEach(() => watchHandles());
afterEach(async () => {
  const made = nodes.splice(0);
  await Promise.all(made.map((node) => node.close()));
  for (const node of made) {
    expect(node.stats()).toMatchObject({ state: 'closed', holds: 0, dials: { pending: 0 }, streams: { incoming: 0 } });
  }
  await nothingLeft();
});

describe('a relay that drains', () => {
  it('loses no request of its circuits, takes no new ones, and is done with the last', async () => {
    const [client, server, ...relays] = Array.from({ length: 4 }, () => makeNode());
    server.bind('echo', { allowHalfOpen: true }, echo);
    await link([client, server], relays);
    await knows(client, 'echo');
    await turnsUntil('both relays are known to lead there', () => hopsTo(client, server).length === 2, LONG);
    const sockets = await Promise.all(Array.from({ length: 40 }, () => connected(client, 'echo')));
    const busy = relays.find((relay) => relay.stats().relay.circuits > 0) as Node;
    const other = relays.find((relay) => relay !== busy) as Node;
    const through = (node: Node): Socket[] => sockets.filter((socket) => socket.peer?.via.includes(node.id));
    const count = through(busy).length;
    expect(count).toBeGreaterThan(0);

    const requests = sockets.map(async (socket) => {
      const answers: string[] = [];
      for (let round = 0; round < 20; round++) answers.push(await answer(socket, `request ${round}`));
      return answers;
    });
    const drained = busy.drain();
    const wait = watch(drained);
    const later = await Promise.all(Array.from({ length: 40 }, () => connected(client, 'echo')));
    for (const socket of later) expect(socket.peer?.via).toEqual([other.id]);
    const answers = Array.from({ length: 20 }, (_, round) => `request ${round}`);
    expect(await Promise.all(requests)).toEqual(Array(40).fill(answers));
    expect(busy.stats()).toMatchObject({ state: 'draining', relay: { circuits: count }, streams: { incoming: count } });
    await turnsUntil(
      'routes lead round it',
      () => {
        const route = client.routes().find(({ nodeId }) => nodeId === server.id);
        return route?.nextHop === other.id;
      },
      LONG,
    );
    expect(client.routes().map(({ nodeId }) => nodeId)).toContain(busy.id);
    // From now on it is not even asked.
    const { refused } = busy.stats().relay;
    await Promise.all(Array.from({ length: 20 }, async () => end(await connected(client, 'echo'))));
    expect(busy.stats().relay.refused).toBe(refused);

    const [last, ...rest] = through(busy);
    await Promise.all(rest.map(end));
    expect(wait.isDone).toBe(false);
    await end(last);
    await within('the drain', drained);
    expect(busy.stats().relay).toMatchObject({ circuits: 0, lost: 0 });
    await busy.close();
    for (const socket of later) expect(await answer(socket, 'still there')).toBe('still there');
    await Promise.all([...through(other), ...later].map(end));
  });
});

describe('a server that drains', () => {
  it('costs no dial under constant load: they go to the other instance', async () => {
    const [client, one, other] = await served(2);
    let isOver = false;
    let done = 0;
    const hits = new Map<string, number>();
    const worker = async (): Promise<void> => {
      while (!isOver) {
        const socket = client.dial('echo');
        // Sent at once, before there is an answer.
        expect(await answer(socket, 'hello')).toBe('hello');
        const { id } = socket.peer as { id: string };
        hits.set(id, (hits.get(id) ?? 0) + 1);
        await end(socket);
        done++;
      }
    };
    const workers = Promise.all(Array.from({ length: 8 }, worker));
    await turnsUntil('both have served', () => (hits.get(one.id) ?? 0) > 20 && (hits.get(other.id) ?? 0) > 20);
    await within('the drain', one.drain());
    await turnsUntil('it is not offered', () => !instances(client).includes(one.id), LONG);
    const [hit, total] = [hits.get(one.id), done];
    await turnsUntil('more have been served', () => done > total + 100);
    expect(hits.get(one.id)).toBe(hit);
    await one.close();
    const after = done;
    await turnsUntil('more have been served', () => done > after + 100);
    isOver = true;
    await workers;
    expect(client.stats().dials.failed).toBe(0);
  });

  it('refuses a dial that races in, which takes the other instance with what was written', async () => {
    const [client, one, other] = await served(2);
    const drained = one.drain();
    const socket = client.dial('echo', { selector: preferring(one) });
    const failures: Error[] = [];
    socket.on('error', (error) => failures.push(error));
    expect(await answer(socket, 'hello')).toBe('hello');
    expect([socket.peer?.id, failures]).toEqual([other.id, []]);
    expect(one.stats().accepts).toMatchObject({ refused: 1, accepted: 0 });
    await end(socket);
    await drained;
  });

  it('fails a dial that knows no other instance with ECONNREFUSED, and later ones with ENOTFOUND, and says why', async () => {
    const [client, only] = await served(1, { dialTimeoutMs: 50 });
    await only.drain();
    const [refused] = await once(client.dial(`@${only.id}:80`), 'error');
    expect(refused).toMatchObject({ code: 'ECONNREFUSED', cause: { message: `${only.id} says: this node drains` } });
    await forgets(client, 'echo');
    const [unknown] = await once(client.dial('echo'), 'error');
    expect(unknown).toMatchObject({ code: 'ENOTFOUND', cause: { code: 'ERR_STARLANE_NOT_FOUND' } });
    expect(unknown.cause.message).toContain(`${only.id} offers it, and drains`);
  });

  it('keeps its sockets, those of servers that are closed already, too, and is done with the last one', async () => {
    const [client, server] = await served(1);
    const [first, second] = [await connected(client, 'echo'), await connected(client, 'echo')];
    const late = server.bind('late', { allowHalfOpen: true }, echo);
    await knows(client, 'late');
    const third = await connected(client, 'late');
    late.close();
    const drained = server.drain();
    const wait = watch(drained);
    expect(await answer(first, 'one')).toBe('one');
    await Promise.all([first, second].map(end));
    expect([await answer(third, 'three'), wait.isDone]).toEqual(['three', false]);
    await end(third);
    await within('the drain', drained);
    expect(server.links()).toHaveLength(1);
  });

  it('is done when a lost link has ended its circuits', async () => {
    const [client, server] = await served(1);
    const socket = await connected(client, 'echo');
    socket.on('error', () => {});
    const drained = server.drain();
    await client.close();
    await within('the drain', drained);
  });
});

describe('an HTTP server that is closed while its node drains', () => {
  it('ends idle connections, and the wait with them', async () => {
    const [client, server] = await served(1);
    const web = createServer((_request, response) => response.end('hello'));
    server.bind('web', web);
    await knows(client, 'web');
    const keeping = agent(client, { keepAlive: true });
    const text = await new Promise<string>((resolve, reject) => {
      get('http://web/', { agent: keeping }, (response) => {
        response.setEncoding('utf8').on('data', resolve).on('error', reject);
      }).on('error', reject);
    });
    const drained = server.drain();
    expect([text, server.stats().streams.incoming]).toEqual(['hello', 1]);
    web.close();
    await within('the drain', drained);
    keeping.destroy();
  });
});

describe('a node that drains', () => {
  it('may dial, itself as well, and its own circuits are not waited for', async () => {
    const [client, server] = await served(1);
    for (const node of [client, server]) node.bind(':7', { allowHalfOpen: true }, echo);
    const before = await connected(client, `@${server.id}:7`);
    await within('the drain', client.drain());
    const after = await connected(client, `@${server.id}:7`);
    const own = await connected(client, `@${client.id}:7`);
    for (const socket of [before, after, own]) expect(await answer(socket, 'hello')).toBe('hello');
    expect(client.stats()).toMatchObject({ state: 'draining', streams: { links: 2, loopback: 1, incoming: 0 } });
    await Promise.all([before, after, own].map(end));
  });

  it('binds what nobody else sees, listens and joins', async () => {
    const [client, server] = await served(1);
    await server.drain();
    await forgets(client, 'echo');
    server.bind('late', { allowHalfOpen: true }, echo);
    await end(await connected(server, 'late'));
    const other = makeNode();
    await link([other], [server]);
    other.bind('news');
    await knows(server, 'news');
    await knows(client, 'news');
    expect([client.serviceMap().has('late'), other.serviceMap().has('late')]).toEqual([false, false]);
    await server.join((await other.listenAndServe(`unix:${socketPath()}`)).address);
  });

  it('is done at once without links, and drains once', async () => {
    const node = makeNode();
    expect(node.stats().state).toBe('open');
    const drained = node.drain();
    expect(node.drain()).toBe(drained);
    expect(node.stats()).toMatchObject({ state: 'draining', holds: 1 });
    expect(inspect(node)).toContain("state: 'draining'");
    await within('the drain', drained);
    await within('another wait', node.drain({ timeoutMs: 1 }));
    expect(node.stats().holds).toBe(0);
    await node.close();
    await within('a wait of a closed node', node.drain());
  });

  it('ends a wait by its timeout or signal, and goes on draining', async () => {
    const [client, server] = await served(1);
    const socket = await connected(client, 'echo');
    const { holds } = server.stats();
    await expect(server.drain({ timeoutMs: 20 })).rejects.toMatchObject({
      code: 'ETIMEDOUT',
      syscall: 'drain',
      cause: { code: 'ERR_STARLANE_CLOSE_TIMEOUT' },
    });
    expect(server.stats()).toMatchObject({ state: 'draining', holds });
    const aborter = new AbortController();
    const aborted = expect(server.drain({ signal: aborter.signal })).rejects.toThrow('enough');
    aborter.abort(new Error('enough'));
    await aborted;
    expect(await answer(socket, 'hello')).toBe('hello');
    await end(socket);
    await within('the drain', server.drain({ timeoutMs: 10_000 }));
  });

  it('does not begin with options that are invalid, or a signal that has aborted', async () => {
    const node = makeNode();
    const invalid = { code: 'ERR_STARLANE_OPTION' };
    await expect(node.drain({ timeoutMs: 0 })).rejects.toMatchObject(invalid);
    await expect(node.drain({ signal: 'no' } as object)).rejects.toMatchObject(invalid);
    await expect(node.drain({ timeout: 1 } as object)).rejects.toMatchObject(invalid);
    await expect(node.drain({ signal: AbortSignal.abort(new Error('before')) })).rejects.toThrow('before');
    expect(node.stats().state).toBe('open');
  });

  it('closes as any other: what is left has closeTimeoutMs, and the wait ends with it', async () => {
    const [client, server] = await served(1, { closeTimeoutMs: 1_000 });
    const [short, long] = [await connected(client, 'echo'), await connected(client, 'echo')];
    const reset = once(long, 'error');
    const drained = server.drain();
    const limited = server.drain({ timeoutMs: 10_000 });
    const closed = server.close();
    await end(short);
    const [error] = await within('the reset', reset);
    expect(error).toMatchObject({ code: 'ECONNRESET' });
    await within('the ends', Promise.all([drained, limited, closed]));
  });
});
