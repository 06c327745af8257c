// Sessions between whole nodes: lost links, other instances, and the end of a receiver.

import { once } from 'node:events';
import { duplexPair } from 'node:stream';
import { afterEach, describe, expect, it } from '@jest/globals';
import { createNode, type Node } from '../../lib/index.js';
import { messages } from '../../lib/messages/index.js';
import { testnet } from '../support/testnet.js';

const nodes: Node[] = [];

afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.close()));
});

function made(): Node {
  const node = createNode();
  nodes.push(node);
  return node;
}

/** Returns what cuts the link. */
async function linked(one: Node, other: Node): Promise<() => void> {
  const [near, far] = duplexPair();
  await Promise.all([one.attach(near), other.attach(far)]);
  return () => {
    near.destroy();
    far.destroy();
  };
}

interface Star {
  readonly sender: Node;
  readonly receivers: readonly Node[];
  /** Cuts the link to a receiver. */
  cut(nodeId: string): void;
}

/** A sender with links to some receivers of a service. */
async function star(count: number): Promise<Star> {
  const sender = made();
  const receivers = Array.from({ length: count }, made);
  const cuts = new Map<string, () => void>();
  for (const receiver of receivers) cuts.set(receiver.id, await linked(sender, receiver));
  return { sender, receivers, cut: (nodeId) => cuts.get(nodeId)?.() };
}

async function knowsAll(node: Node, service: string, count: number): Promise<void> {
  while (node.serviceMap().get(service).length < count) await once(node, 'service');
}

describe('a lost link', () => {
  it('costs no outcome, and runs nothing twice', async () => {
    const net = await testnet('tcp');
    nodes.push(net.joiner, net.listener);
    const runs: unknown[] = [];
    const release: Array<() => void> = [];
    messages(net.listener).onMessage('orders', ({ data }) => {
      runs.push(data);
      return data === 0 ? new Promise<void>((resolve) => release.push(resolve)) : undefined;
    });
    const post = messages(net.joiner);
    const first = post.send('orders', 0);
    const others = [1, 2, 3].map((data) => post.send('orders', data));
    while (release.length === 0) await new Promise((resolve) => setImmediate(resolve));
    const again = once(net.joiner, 'link');
    net.cut();
    await again;
    others.push(post.send('orders', 4));
    release[0]();
    await Promise.all([first, ...others]);
    expect(runs).toEqual([0, 1, 2, 3, 4]);
  });

  it('is got over by another path', async () => {
    const [sender, relay, receiver] = [made(), made(), made()];
    const cut = await linked(sender, receiver);
    await linked(sender, relay);
    await linked(relay, receiver);
    const runs: unknown[] = [];
    let finish: () => void = () => {};
    messages(receiver)
      .inbox('orders')
      .onCommand(1, (input) => {
        runs.push(input);
        return new Promise((resolve) => {
          finish = () => resolve('done');
        });
      });
    const answer = messages(sender).call('orders', 1, 'once');
    while (runs.length === 0) await new Promise((resolve) => setImmediate(resolve));
    cut();
    finish();
    expect(await answer).toBe('done');
    expect(runs).toEqual(['once']);
  });
});

describe('several instances', () => {
  it('share the calls, and messages stay with one', async () => {
    const { sender, receivers } = await star(3);
    const calls = new Map<string, number>();
    const sends = new Set<string>();
    for (const node of receivers) {
      const inbox = messages(node).inbox('orders');
      inbox.onCommand(1, async () => void calls.set(node.id, (calls.get(node.id) ?? 0) + 1));
      inbox.onMessage(() => void sends.add(node.id));
    }
    await knowsAll(sender, 'orders', 3);
    const post = messages(sender);
    await Promise.all(Array.from({ length: 300 }, () => post.call('orders', 1)));
    await Promise.all(Array.from({ length: 300 }, () => post.send('orders')));
    expect(sends.size).toBe(1);
    expect(calls.size).toBe(3);
    for (const count of calls.values()) expect(count).toBeGreaterThan(50);
  });

  it('take over from one that drains: its handlers finish, and what has not begun goes elsewhere', async () => {
    const { sender, receivers } = await star(2);
    const runs: string[] = [];
    const release: Array<() => void> = [];
    for (const node of receivers) {
      messages(node).onMessage('orders', ({ data }) => {
        runs.push(`${data} at ${node.id}`);
        return data === 1 ? new Promise<void>((resolve) => release.push(resolve)) : undefined;
      });
    }
    await knowsAll(sender, 'orders', 2);
    const post = messages(sender);
    const sent = [1, 2, 3].map((data) => post.send('orders', data));
    while (release.length === 0) await new Promise((resolve) => setImmediate(resolve));
    const [first] = receivers.filter(({ id }) => runs[0].endsWith(id));
    const [second] = receivers.filter((node) => node !== first);
    const drained = first.drain();
    release[0]();
    const at = (await Promise.all(sent)).map(({ nodeId }) => nodeId);
    await drained;
    expect(at).toEqual([first.id, second.id, second.id]);
    expect(runs).toEqual([`1 at ${first.id}`, `2 at ${second.id}`, `3 at ${second.id}`]);
  });

  it('are not asked twice after an unknown outcome, unless that does no harm', async () => {
    const { sender, receivers, cut } = await star(2);
    const runs: string[] = [];
    for (const node of receivers) {
      const inbox = messages(node).inbox('orders');
      inbox.onCommand(1, () => {
        runs.push(node.id);
        return runs.length === 1 ? new Promise(() => {}) : node.id;
      });
      inbox.onCommand(2, () => new Promise(() => void runs.push(node.id)));
    }
    await knowsAll(sender, 'orders', 2);
    const post = messages(sender, { resumeMs: 50 });
    const harmless = post.call('orders', 1, undefined, { idempotent: true });
    while (runs.length < 1) await new Promise((resolve) => setImmediate(resolve));
    cut(runs[0]);
    const other = await harmless;
    expect(runs).toEqual([runs[0], other]);
    expect(other).not.toBe(runs[0]);
    const doubtful = post.call('orders', 2).catch((error) => error);
    while (runs.length < 3) await new Promise((resolve) => setImmediate(resolve));
    cut(runs[2]);
    expect(await doubtful).toMatchObject({ code: 'ERR_STARLANE_OUTCOME_UNKNOWN', outcome: 'unknown' });
  });
});

describe('the end', () => {
  it('of the sender gives up what has not left, and waits for the rest', async () => {
    const { sender, receivers } = await star(1);
    let finish: () => void = () => {};
    messages(receivers[0]).onMessage('orders', () => new Promise<void>((resolve) => (finish = resolve)));
    await knowsAll(sender, 'orders', 1);
    const post = messages(sender);
    const sent = post.send('orders', 1);
    const nowhere = post.send('nobody', 1).catch((error) => error);
    while (messages(receivers[0]).stats().received.running === 0) await new Promise((resolve) => setImmediate(resolve));
    const closed = post.close();
    expect(await nowhere).toMatchObject({ outcome: 'not-handled', cause: { code: 'ERR_STARLANE_CLOSED' } });
    finish();
    expect((await sent).nodeId).toBe(receivers[0].id);
    await closed;
    const late = await post.send('orders', 1).catch((error) => error);
    expect(late).toMatchObject({ outcome: 'not-handled' });
    expect(post.stats()).toMatchObject({ pending: 0, lanes: 0 });
  });

  it('of the wait reaches the handler', async () => {
    const { sender, receivers } = await star(1);
    const reasons: unknown[] = [];
    const inbox = messages(receivers[0]).inbox('orders');
    inbox.onCommand(1, async (_input, { signal }) => {
      await once(signal, 'abort');
      reasons.push((signal.reason as { code?: string }).code);
    });
    await knowsAll(sender, 'orders', 1);
    const post = messages(sender);
    const late = await post.call('orders', 1, 1, { timeoutMs: 500 }).catch((error) => error);
    expect(late).toMatchObject({ code: 'ETIMEDOUT', outcome: 'unknown' });
    const aborter = new AbortController();
    const aborted = post.call('orders', 1, 1, { signal: aborter.signal }).catch((error) => error);
    while (messages(receivers[0]).stats().received.total < 2) await new Promise((resolve) => setImmediate(resolve));
    aborter.abort(new Error('enough'));
    expect(await aborted).toMatchObject({ outcome: 'unknown', cause: { message: 'enough' } });
    while (reasons.length < 2) await new Promise((resolve) => setImmediate(resolve));
    expect(reasons).toEqual(['ETIMEDOUT', 'ERR_STARLANE_CLOSED']);
  });

  it('of a lane comes when nobody uses it', async () => {
    const { sender, receivers } = await star(1);
    messages(receivers[0]).onMessage('orders', () => {});
    await knowsAll(sender, 'orders', 1);
    const post = messages(sender, { idleMs: 30 });
    await post.send('orders', 1);
    expect(post.stats().lanes).toBe(1);
    while (post.stats().lanes > 0 || messages(receivers[0]).stats().sessions > 0) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    await post.send('orders', 2);
  });
});

it('no more waits than there may be', async () => {
  const node = made();
  const post = messages(node, { maxPending: 2, maxPendingBytes: 10 });
  const sends = [
    post.send('nobody', 'abc'),
    post.send('nobody', 'too many bytes'),
    post.send('nobody', ''),
    post.send('nobody', ''),
  ];
  const full = { code: 'ERR_STARLANE_QUEUE_FULL', outcome: 'not-handled' };
  expect(await Promise.allSettled(sends.filter((_one, index) => index === 1 || index === 3))).toMatchObject([
    { reason: full },
    { reason: full },
  ]);
  await node.close();
  expect(await Promise.allSettled([sends[0], sends[2]])).toMatchObject([
    { status: 'rejected' },
    { status: 'rejected' },
  ]);
});
