// One service of a network, offered in another one by a node of each: through relays on both sides, and nothing else with it.

import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Node, Server, Socket } from '../../../lib/index.js';
import { type ExportServiceOptions, exportService, type ServiceExport } from '../../../lib/messages/index.js';
import { RelayNet } from '../../support/relay-net.js';
import { forgets, knows, readToEnd } from '../../support/testnet.js';
import { turnsUntil } from '../../support/turns.js';

let a: RelayNet;
let b: RelayNet;
let exported: ServiceExport[];

/** The service is at the one end of network a, the caller at the other end of network b, and the bridge has a node of each. */
let origin: Node;
let caller: Node;
let bridge: { readonly from: Node; readonly to: Node };

beforeEach(async () => {
  exported = [];
  [a, b] = await Promise.all([RelayNet.line(1), RelayNet.line(1)]);
  await Promise.all([a.settled(), b.settled()]);
  origin = a.first;
  caller = b.last;
  bridge = { from: a.last, to: b.first };
});

afterEach(async () => {
  await Promise.all(exported.map((one) => one.close({ timeoutMs: 0 })));
  await Promise.all([a.close(), b.close()]);
});

function start(options: Partial<ExportServiceOptions> = {}): ServiceExport {
  const made = exportService({ ...bridge, service: 'orders', ...options });
  exported.push(made);
  return made;
}

function echo(node: Node, name: string, options = {}): Server {
  return node.bind(name, { allowHalfOpen: true, ...options }, (socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  });
}

async function ask(node: Node, service: string, text = 'hello'): Promise<string> {
  const socket = node.dial(service, { allowHalfOpen: true });
  socket.end(text);
  return (await readToEnd(socket)).toString();
}

async function failure(socket: Socket): Promise<unknown> {
  const [error] = await once(socket, 'error');
  return error;
}

describe('an exported service', () => {
  it('is dialled in the other network, through relays on both sides, and each direction ends by itself', async () => {
    echo(origin, 'orders');
    start();
    await knows(caller, 'orders');
    expect(await ask(caller, 'orders')).toBe('hello');
    expect(caller.serviceMap().get('orders')).toMatchObject([{ nodeId: bridge.to.id, hops: 2 }]);
  });

  it('has another name there, and one port only, if it is asked to', async () => {
    echo(origin, 'orders:16');
    start({ service: 'orders:16', as: 'shop:16', meta: { from: 'a' }, weight: 7, instance: 'one' });
    await knows(caller, 'shop');
    expect(caller.services()).toMatchObject([{ service: 'shop', port: 16, weight: 7, instance: 'one' }]);
    expect(caller.services()[0]?.meta).toMatchObject({ from: 'a' });
    expect(await ask(caller, 'shop:16')).toBe('hello');
    const dial = caller.dial('shop:80', { timeoutMs: 100 });
    expect(await failure(dial)).toMatchObject({ code: 'ENOTFOUND' });
  });

  it('is offered while it has an instance, and no longer', async () => {
    const made = start();
    expect(made.isOffered).toBe(false);
    for (let round = 0; round < 2; round++) {
      const server = echo(origin, 'orders');
      await knows(caller, 'orders');
      expect(made.isOffered).toBe(true);
      const gone = forgets(caller, 'orders');
      server.close();
      await gone;
      expect(made.isOffered).toBe(false);
    }
  });

  it('is not offered any more after close, which lets open circuits end in time', async () => {
    echo(origin, 'orders');
    const listeners = (): number[] => [bridge.from, bridge.to].map((node) => node.listenerCount('close'));
    const before = listeners();
    const made = start();
    await knows(caller, 'orders');
    const [first, second] = [caller.dial('orders', { allowHalfOpen: true }), caller.dial('orders')];
    await Promise.all([once(first, 'connect'), once(second, 'connect')]);
    const gone = forgets(caller, 'orders');
    const closed = made.close({ timeoutMs: 300 });
    await gone;
    first.end('still');
    expect((await readToEnd(first)).toString()).toBe('still');
    const lost = failure(second);
    await closed;
    expect(await lost).toMatchObject({ code: 'ECONNRESET' });
    expect(made.stats()).toEqual({ offered: false, circuits: 0, accepted: 2, refused: 0 });
    expect(listeners()).toEqual(before);
  });

  it('slows its caller down when it does not read', async () => {
    const accepted = new Promise<Socket>((resolve) => {
      origin.bind('orders', { pauseOnConnect: true }, resolve);
    });
    start();
    await knows(caller, 'orders');
    const socket = caller.dial('orders');
    const inner = await accepted;
    const chunk = Buffer.alloc(256 * 1024);
    let sent = 0;
    while (socket.write(chunk) || (await drained(socket))) sent += chunk.length;
    // Windows of two circuits, and what streams buffer: not what the caller has.
    expect(sent).toBeLessThan(64 * 1024 * 1024);
    let received = 0;
    inner.on('data', (data: Buffer) => {
      received += data.length;
    });
    inner.resume();
    socket.end();
    await once(inner, 'end');
    expect(received).toBe(socket.bytesWritten);
  });

  it('resets the circuit of its caller when it resets its own, and the other way round', async () => {
    const sockets: Socket[] = [];
    origin.bind('orders', (socket) => {
      socket.on('error', () => {});
      sockets.push(socket);
    });
    start();
    await knows(caller, 'orders');
    const first = caller.dial('orders');
    await once(first, 'connect');
    const lost = failure(first);
    sockets[0]?.resetAndDestroy();
    expect(await lost).toMatchObject({ code: 'ECONNRESET' });
    const second = caller.dial('orders');
    await once(second, 'connect');
    const inner = sockets[1] as Socket;
    const ended = new Promise((resolve) => inner.once('close', resolve));
    second.on('error', () => {});
    second.resetAndDestroy();
    await ended;
    expect(inner.readableEnded).toBe(false);
  });

  it('is no instance for another export, so that two bridges make no circle', async () => {
    const server = echo(origin, 'orders');
    const there = start();
    await knows(caller, 'orders');
    // From b back to a, by another program.
    const back = exportService({ from: b.nodes[1] as Node, to: a.nodes[1] as Node, service: 'orders' });
    exported.push(back);
    expect(back.isOffered).toBe(false);
    const gone = forgets(caller, 'orders');
    server.close();
    await gone;
    expect([there.isOffered, back.isOffered]).toEqual([false, false]);
  });
});

async function drained(socket: Socket): Promise<boolean> {
  let isDrained = false;
  socket.once('drain', () => {
    isDrained = true;
  });
  let turns = 0;
  await turnsUntil('the link has taken what it takes', () => isDrained || ++turns > 300);
  return isDrained;
}

describe('limits', () => {
  it('refuses circuits beyond maxCircuits, so that the dial goes to another instance', async () => {
    echo(origin, 'orders');
    const made = start({ maxCircuits: 1 });
    await knows(caller, 'orders');
    const first = caller.dial('orders');
    await once(first, 'connect');
    const refusal = await failure(caller.dial('orders'));
    expect(refusal).toMatchObject({ code: 'ECONNREFUSED' });
    expect(String((refusal as Error).cause)).toContain('as many circuits as it may (1)');
    expect(made.stats()).toMatchObject({ circuits: 1, refused: 1 });
    first.destroy();
    await turnsUntil('it has ended here', () => made.stats().circuits === 0);
    expect(await ask(caller, 'orders')).toBe('hello');
  });

  it('keeps a caller of messages at one instance, also for its next circuits', async () => {
    const named = (node: Node): void => {
      node.bind('orders:16', (socket) => socket.end(node.id));
    };
    for (const node of a.nodes) named(node);
    start({ service: 'orders:16' });
    await knows(caller, 'orders');
    await turnsUntil('all are known', () => bridge.from.serviceMap().get('orders').length === 3);
    const answers = new Set<string>();
    for (let round = 0; round < 12; round++) answers.add(await ask(caller, 'orders:16'));
    expect(answers.size).toBe(1);
  });

  it.each([
    ['service: ', { service: '' }],
    ['service: ', { service: ':16' }],
    ['service: ', { service: 'x:0' }],
    ['as: ', { as: '@x' }],
    ['meta: ', { meta: [] }],
    ['maxCircuits: ', { maxCircuits: 0 }],
    ['to: ', { to: undefined }],
    ['unknown option', { port: 1 }],
  ])('refuses wrong options: %s', (message, options) => {
    expect(() => start(options as never)).toThrow(message === 'as: ' ? /address|as: / : message);
  });

  it('warns when the name is taken there, and offers it when it is free', async () => {
    const taken = bridge.to.bind('orders');
    await once(taken, 'listening');
    const made = start();
    const warned = once(made, 'warning');
    echo(origin, 'orders');
    expect((await warned)[0]).toMatchObject({ code: 'EADDRINUSE' });
    taken.close();
    const offered = once(made, 'offer');
    echo(a.nodes[1] as Node, 'orders');
    await offered;
    expect(made.isOffered).toBe(true);
  });
});
