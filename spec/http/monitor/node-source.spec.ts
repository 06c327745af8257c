// A node as the source of the monitor: two and three linked nodes.

import { request } from 'node:http';
import { afterEach, describe, expect, it } from '@jest/globals';
import { NodeSource } from '../../../lib/http/monitor/node-source.js';
import { startMonitor } from '../../../lib/http/monitor/server.js';
import type { SourceWatcher } from '../../../lib/http/monitor/source.js';
import type { Node } from '../../../lib/index.js';
import { createNode } from '../../../lib/index.js';
import { ask } from './requests.js';

const nodes: Node[] = [];
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.close()));
});

function make(): Node {
  const node = createNode({ closeTimeoutMs: 100 });
  nodes.push(node);
  return node;
}

async function pair(): Promise<[Node, Node]> {
  const [one, other] = [make(), make()];
  const { address } = await one.listenAndServe('tcp://127.0.0.1:0');
  await other.join(address);
  return [one, other];
}

/** Collects events; `next` waits until one of a kind is there. */
function watched(source: NodeSource) {
  const events: [string, string, string][] = [];
  const waiting = new Set<() => void>();
  let isEnded = false;
  const notify = (): void => {
    for (const check of [...waiting]) check();
  };
  const watcher: SourceWatcher = {
    onChange: notify,
    onEvent: (...event) => {
      events.push(event);
      notify();
    },
    onEnd: () => {
      isEnded = true;
      notify();
    },
  };
  const unwatch = source.watch(watcher);
  const until = (isThere: () => boolean): Promise<void> =>
    new Promise((resolve) => {
      const check = (): void => {
        if (!isThere()) return;
        waiting.delete(check);
        resolve();
      };
      waiting.add(check);
      check();
    });
  return {
    events,
    unwatch,
    next: (kind: string) => until(() => events.some(([one]) => one === kind)),
    ended: () => until(() => isEnded),
  };
}

describe('a node as a source', () => {
  it('shows itself alone', () => {
    const node = make();
    const { self, nodes: rows, links, services } = new NodeSource(node).read();
    expect(self).toMatchObject({ id: node.id, name: '', state: 'open' });
    expect(rows).toEqual([expect.objectContaining({ id: node.id, isSelf: true, hops: 0 })]);
    expect([links, services]).toEqual([[], []]);
  });

  it('shows its links, the nodes that it knows, and their services', async () => {
    const [one, other] = await pair();
    other.bind('web:80', { meta: { version: 2 } });
    one.bind('here');
    await one.waitFor('web');
    const snapshot = new NodeSource(one).read();
    expect(snapshot.nodes.map(({ id, isRelay, hops }) => ({ id, isRelay, hops }))).toEqual([
      { id: one.id, isRelay: true, hops: 0 },
      { id: other.id, isRelay: true, hops: 1 },
    ]);
    const [a, b] = [one.id, other.id].sort();
    expect(snapshot.edges).toEqual([expect.objectContaining({ id: `${a}~${b}`, one: a, other: b })]);
    expect(snapshot.links).toEqual([
      expect.objectContaining({ peerId: other.id, direction: 'inbound', purpose: 'join', trouble: '' }),
    ]);
    expect(snapshot.services).toContainEqual(
      expect.objectContaining({ service: 'web', port: 80, nodeId: other.id, meta: '{"version":2}' }),
    );
    expect(snapshot.totals.counts).toMatchObject({ nodes: 2, edges: 1, services: 2, links: 1 });
  });

  it('shows streams in the snapshot after the next', async () => {
    const [one, other] = await pair();
    one.bind('echo', (socket) => socket.pipe(socket));
    await other.waitFor('echo');
    const socket = other.dial('echo');
    socket.write('x');
    await new Promise((resolve) => socket.once('data', resolve));
    const source = new NodeSource(other);
    source.read();
    await new Promise((resolve) => setImmediate(resolve));
    const { streams, totals } = source.read();
    expect(streams).toEqual([
      expect.objectContaining({
        kind: 'socket',
        direction: 'out',
        service: 'echo',
        peerId: one.id,
        bytesIn: 1,
        bytesOut: 1,
      }),
    ]);
    expect(totals.streams).toBeGreaterThanOrEqual(1);
    socket.destroy();
  });

  it('reports links, services and warnings, without a listener that would keep warnings from being printed', async () => {
    const [one, other] = [make(), make()];
    const { events, unwatch, next } = watched(new NodeSource(one));
    const { address } = await one.listenAndServe('tcp://127.0.0.1:0');
    const link = await other.join(address);
    const server = other.bind('web');
    await next('service');
    server.close();
    await next('service gone');
    await link.close();
    await next('link closed');
    expect(events.map(([kind]) => kind)).toEqual(expect.arrayContaining(['link', 'service', 'service gone']));
    expect(events.find(([kind]) => kind === 'service')).toEqual(['service', 'good', `web at ${other.id}`]);
    expect(one.listenerCount('warning') + one.listenerCount('error')).toBe(0);
    unwatch();
    const { length } = events;
    one.bind('later');
    expect(events).toHaveLength(length);
  });

  it('ends when the node closes', async () => {
    const node = make();
    const { ended } = watched(new NodeSource(node));
    await node.close();
    await ended();
  });

  it('answers queries below /api/v1', async () => {
    const [one, other] = await pair();
    const monitor = await startMonitor(new NodeSource(one), { port: 0 }, {});
    const { status, headers, body } = await ask(monitor.url, '/api/v1/links?limit=10');
    expect({ status, policy: headers['content-security-policy'] }).toEqual({ status: 200, policy: expect.any(String) });
    expect(JSON.parse(body)).toMatchObject({ id: one.id, links: [{ peerId: other.id }] });
    expect((await ask(monitor.url, '/api/v1/nothing')).status).toBe(404);
    const first = await new Promise<string>((resolve, reject) => {
      const sent = request(new URL('/api/v1/events', monitor.url), (response) => {
        response.once('data', (chunk: Buffer) => {
          resolve(chunk.toString());
          sent.destroy();
        });
      });
      sent.on('error', reject).end();
    });
    expect(first).toContain('event: hello');
    await monitor.close();
  });
});
