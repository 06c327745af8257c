// What is published through node:diagnostics_channel.

import { AsyncLocalStorage } from 'node:async_hooks';
import { channel, subscribe, tracingChannel, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { afterEach, describe, expect, it } from '@jest/globals';
import { createNode, type Node, type NodeOptions } from '../../../lib/index.js';
import type { AcceptEvent, DialEvent } from '../../../lib/util/diagnostics.js';
import { raising } from '../../../lib/util/runtime/throw-later.js';
import { runProgram } from '../../support/built-lib.js';
import { within } from '../../support/deadline.js';
import { RelayNet } from '../../support/relay-net.js';
import { turnsUntil } from '../../support/turns.js';

const store = new AsyncLocalStorage<string>();
const undo: Array<() => unknown> = [];

afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

interface Seen<Event> {
  readonly name: string;
  readonly event: Event;
  /** What the event said when it was published. */
  readonly copy: Event;
  readonly context: string | undefined;
}

/** The events of a tracing channel from now on. */
function traced<Event extends object>(name: string): Array<Seen<Event>> {
  const seen: Array<Seen<Event>> = [];
  const note = (part: string) => (event: unknown) =>
    seen.push({ name: part, event: event as Event, copy: { ...(event as Event) }, context: store.getStore() });
  const channels = tracingChannel<unknown, Event>(name);
  const subscribers = {
    start: note('start'),
    end: note('end'),
    asyncStart: note('asyncStart'),
    asyncEnd: note('asyncEnd'),
    error: note('error'),
  };
  channels.subscribe(subscribers);
  undo.push(() => channels.unsubscribe(subscribers));
  return seen;
}

/** The messages of a channel from now on. */
function messages(name: string): object[] {
  const seen: object[] = [];
  const note = (message: unknown): void => {
    seen.push(message as object);
  };
  subscribe(name, note);
  undo.push(() => unsubscribe(name, note));
  return seen;
}

async function line(relays: number, options?: NodeOptions): Promise<RelayNet> {
  const net = await RelayNet.line(relays, { node: options });
  undo.push(() => net.close());
  return net;
}

const names = (seen: ReadonlyArray<Seen<object>>): string[] => seen.map(({ name }) => name);

describe('the channel of dials', () => {
  it.each([0, 1])('has the course of a dial over %d relays, in the context of the caller', async (relays) => {
    const net = await line(relays);
    net.last.bind('echo', (socket) => socket.pipe(socket));
    await net.first.waitFor('echo');
    const seen = traced<DialEvent>('starlane:dial');
    const socket = store.run('the caller', () => net.first.dial('echo:7'));
    socket.once('connect', () => seen.push({ ...seen[0], name: "'connect'" } as Seen<DialEvent>));
    expect(names(seen)).toEqual(['start', 'end']);
    await within('connect', once(socket, 'connect'));
    socket.destroy();
    expect(names(seen)).toEqual(['start', 'end', 'asyncStart', 'asyncEnd', "'connect'"]);
    expect(new Set(seen.map(({ context }) => context))).toEqual(new Set(['the caller']));
    expect(new Set(seen.map(({ event }) => event)).size).toBe(1);
    expect(seen[0]?.copy).toMatchObject({ peerId: undefined, attempts: 0, via: undefined, durationMs: undefined });
    const via = relays === 0 ? [] : [net.nodes[1]?.id];
    const { durationMs, ...event } = seen[3]!.copy as DialEvent;
    expect(event).toEqual({
      nodeId: net.first.id,
      service: 'echo',
      port: 7,
      peerId: net.last.id,
      attempts: 1,
      via,
      secure: false,
    });
    expect(durationMs).toBeGreaterThanOrEqual(0);
  });

  it('has the error of a dial that fails, before the event', async () => {
    const net = await line(0);
    const seen = traced<DialEvent>('starlane:dial');
    const socket = store.run('the caller', () => net.first.dial(`@${net.last.id}:9`));
    const [error] = (await within('error', once(socket, 'error'))) as [Error];
    expect(names(seen)).toEqual(['start', 'end', 'error', 'asyncStart', 'asyncEnd']);
    expect(seen[2]).toMatchObject({ context: 'the caller', copy: { service: '', port: 9, peerId: net.last.id } });
    expect(seen[2]?.copy.error).toBe(error);
    expect(error).toMatchObject({ code: 'ECONNREFUSED' });
  });

  it('has an error for a dial that its caller gives up', async () => {
    const net = await line(0);
    const seen = traced<DialEvent>('starlane:dial');
    net.first.dial('nowhere').destroy();
    await turnsUntil('the events', () => seen.length === 5);
    expect(seen[4]?.copy.error).toMatchObject({ code: 'ECANCELED' });
  });

  it('counts every node that was asked', async () => {
    const net = await line(1);
    const [first, middle, last] = net.nodes as [Node, Node, Node];
    for (const [node, maxConnections] of [
      [middle, 0],
      [last, undefined],
    ] as const)
      node.bind('one', { maxConnections }, (socket) => socket.end());
    await turnsUntil('two instances', () => first.services().length === 2);
    const seen = traced<DialEvent>('starlane:dial');
    const order = [middle.id, last.id];
    const selector = (instances: readonly { nodeId: string }[]) =>
      instances.find(({ nodeId }) => nodeId === order[0]) ?? instances[0];
    await within('connect', once(first.dial('one', { selector: selector as never }), 'connect'));
    expect(seen.at(-1)?.copy).toMatchObject({ attempts: 2, peerId: last.id });
  });
});

describe('the channel of circuits that come in', () => {
  it.each([
    [0, false],
    [0, true],
    [1, false],
    [1, true],
  ])("surrounds the 'connection' of one over %d relays, encrypted: %s", async (relays, secure) => {
    const net = await line(relays);
    const seen = traced<AcceptEvent>('starlane:accept');
    const order: string[] = [];
    const isBound = once(
      store.run('who binds', () =>
        net.last.bind(':7', () => {
          order.push(`'connection' after ${names(seen)}`);
        }),
      ),
      'listening',
    );
    await isBound;
    const socket = net.first.dial(`@${net.last.id}:7`, { secure });
    await within('connect', once(socket, 'connect'));
    await turnsUntil('two events', () => seen.length === 2);
    socket.destroy();
    expect(order).toEqual(["'connection' after start"]);
    expect(names(seen)).toEqual(['start', 'end']);
    expect(seen[0]?.context).toBe('who binds');
    const { durationMs, ...event } = seen[1]!.copy as AcceptEvent;
    const via = relays === 0 ? [] : [net.nodes[1]?.id];
    expect(event).toEqual({ nodeId: net.last.id, service: '', port: 7, peerId: net.first.id, via, secure });
    expect(durationMs).toBeGreaterThanOrEqual(0);
  });

  it('binds stores for the listeners of a server and all events of the socket', async () => {
    const net = await line(0);
    const { start } = tracingChannel<unknown, AcceptEvent>('starlane:accept');
    (start as unknown as { bindStore(to: object, make: (event: AcceptEvent) => string): void }).bindStore(
      store,
      ({ peerId }) => `of ${peerId}`,
    );
    undo.push(() => start.unbindStore(store));
    const seen: Array<string | undefined> = [];
    const ended = new Promise<void>((resolve) => {
      net.last.bind(':7', (socket) => {
        seen.push(store.getStore());
        socket.on('data', () => seen.push(store.getStore())).once('end', resolve);
      });
    });
    await within('connect', once(net.first.dial(`@${net.last.id}:7`).end('x'), 'connect'));
    await within('end', ended);
    expect(seen).toEqual([`of ${net.first.id}`, `of ${net.first.id}`]);
  });

  it.each([
    ['is not bound', 'ECONNREFUSED', {}],
    ['is not allowed', 'EACCES', { allow: [] }],
  ] as const)('has the error of a circuit that %s', async (_why, code, options) => {
    const net = await line(0);
    if ('allow' in options) net.last.bind(':7', options, () => {});
    const seen = traced<AcceptEvent>('starlane:accept');
    const [error] = await within('error', once(net.first.dial(`@${net.last.id}:7`), 'error'));
    expect(error).toMatchObject({ code });
    expect(names(seen)).toEqual(['start', 'error', 'end']);
    expect(seen[1]?.copy).toMatchObject({ port: 7, peerId: net.first.id, error: { code } });
  });

  it('has what a listener throws, which is raised as ever', async () => {
    const net = await line(0);
    const { raise } = raising;
    const raised: unknown[] = [];
    raising.raise = (error) => raised.push(error);
    undo.push(() => {
      raising.raise = raise;
    });
    net.last.bind(':7', () => {
      throw new Error('of the listener');
    });
    const seen = traced<AcceptEvent>('starlane:accept');
    await within('connect', once(net.first.dial(`@${net.last.id}:7`), 'connect'));
    expect(names(seen)).toEqual(['start', 'error', 'end']);
    expect(raised).toEqual([seen[1]?.event.error]);
  });
});

describe('the other channels', () => {
  it('have the links of a node', async () => {
    const links = messages('starlane:link');
    const unlinks = messages('starlane:unlink');
    const net = await line(0);
    const [near, far] = [net.first.id, net.last.id];
    const both = (more: object): object[] =>
      [
        [near, far],
        [far, near],
      ].map(([nodeId, peerId]) => expect.objectContaining({ nodeId, peerId, address: 'attached', ...more }));
    expect(links).toHaveLength(2);
    expect(links).toEqual(expect.arrayContaining(both({ durationMs: 0, reason: undefined })));
    await net.first.close();
    await turnsUntil('two events', () => unlinks.length === 2);
    expect(unlinks).toEqual(expect.arrayContaining(both({ durationMs: expect.any(Number) })));
  });

  it('have the circuits of others through a node', async () => {
    const net = await line(1);
    net.last.bind(':7', (socket) => socket.resume());
    const seen = messages('starlane:relay');
    const socket = net.first.dial(`@${net.last.id}:7`);
    await within('connect', once(socket, 'connect'));
    socket.end();
    await turnsUntil('two events', () => seen.length === 2);
    const event = { nodeId: net.nodes[1]?.id, sourceId: net.first.id, destinationId: net.last.id, reason: '' };
    expect(seen).toEqual([
      { ...event, type: 'open' },
      { ...event, type: 'close' },
    ]);
    await within('error', once(net.first.dial(`@${net.last.id}:8`), 'error'));
    expect(seen[2]).toEqual({ ...event, type: 'refuse', reason: '' });
    const cut = net.first.dial(`@${net.last.id}:7`);
    await within('connect', once(cut, 'connect'));
    cut.on('error', () => {});
    await net.nodes[1]?.close();
    await turnsUntil('the events', () => seen.length === 5);
    expect(seen[4]).toMatchObject({ type: 'close', reason: 'lost' });
  });

  it('have the beginning and the end of a drain', async () => {
    const net = await line(0);
    net.last.bind(':7', (socket) => socket.resume());
    const socket = net.first.dial(`@${net.last.id}:7`);
    await within('connect', once(socket, 'connect'));
    const seen = messages('starlane:drain');
    const drained = net.last.drain();
    expect(seen).toEqual([{ nodeId: net.last.id, type: 'begin', circuits: 1 }]);
    socket.end();
    await within('drain', drained);
    expect(seen[1]).toEqual({ nodeId: net.last.id, type: 'end', circuits: 0 });
    await net.last.close();
    expect(seen).toHaveLength(2);
  });

  it('harm nothing when a subscriber throws, which Node raises later', async () => {
    const program = runProgram(`
      import { subscribe, tracingChannel } from 'node:diagnostics_channel';
      import { once } from 'node:events';
      const raised = new Set();
      process.on('uncaughtException', ({ message }) => raised.add(message));
      const failing = (name) => () => { throw new Error(name); };
      for (const name of ['link', 'unlink', 'drain']) subscribe('starlane:' + name, failing(name));
      for (const name of ['dial', 'accept']) {
        const parts = ['start', 'end', 'asyncStart', 'asyncEnd', 'error'];
        tracingChannel('starlane:' + name).subscribe(Object.fromEntries(parts.map((part) => [part, failing(name + ' ' + part)])));
      }
      const [server, client] = [starlane.createNode(), starlane.createNode()];
      const { address } = await server.listenAndServe('tcp://127.0.0.1:0');
      await client.join(address);
      server.bind(':7', (socket) => socket.pipe(socket));
      const socket = client.dial('@' + server.id + ':7');
      socket.write('hello');
      const [data] = await once(socket, 'data');
      const links = client.links().length;
      await once(client.dial('@' + server.id + ':8'), 'error');
      await Promise.all([client.close(), server.close()]);
      say({ data: String(data), links, raised: [...raised].sort() });`);
    const said = await program.waitFor('the result', ({ data }) => data !== undefined);
    await within('the exit', program.exited);
    const dials = ['asyncEnd', 'asyncStart', 'end', 'error', 'start'].map((part) => `dial ${part}`);
    const accepts = ['end', 'error', 'start'].map((part) => `accept ${part}`);
    expect(said).toEqual({ data: 'hello', links: 1, raised: [...accepts, ...dials, 'drain', 'link', 'unlink'] });
  });

  it('have no subscribers of their own', () => {
    const node = createNode();
    undo.push(() => node.close());
    for (const name of ['link', 'unlink', 'relay', 'drain'])
      expect(channel(`starlane:${name}`).hasSubscribers).toBe(false);
    for (const name of ['dial', 'accept']) expect(channel(`tracing:starlane:${name}:start`).hasSubscribers).toBe(false);
  });
});
