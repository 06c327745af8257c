// What Prometheus gets of a node.

import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { createServer, get } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import client from 'prom-client';
import { type Metrics, type MetricsOptions, metrics } from '../../../lib/http/index.js';
import { createNode, type ListedMember, type Node, type NodeOptions, type NodeStats } from '../../../lib/index.js';
import { memberTls } from '../../support/certificates.js';
import { within } from '../../support/deadline.js';
import { MemberNet } from '../../support/member-net.js';
import { describeUnless } from '../../support/obstacle.js';
import { RelayNet } from '../../support/relay-net.js';
import { thrownCode } from '../../support/thrown.js';
import { turnsUntil } from '../../support/turns.js';
import { type Family, readExposition, seriesOf } from './exposition.js';
import { NO_PROMTOOL, promtool } from './promtool.js';

const undo: Array<() => unknown> = [];

afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

function makeNode(options: NodeOptions = {}): Node {
  const node = createNode({ closeTimeoutMs: 50, ...options });
  undo.push(() => node.close());
  return node;
}

/** Without the metrics of the process, unless `options` say otherwise. */
function metricsOf(node: Node, options: MetricsOptions = { process: false }): Metrics {
  const made = metrics(node, options);
  undo.push(() => made.close());
  return made;
}

async function line(relays: number, options?: NodeOptions): Promise<RelayNet> {
  const net = await RelayNet.line(relays, { node: options });
  undo.push(() => net.close());
  return net;
}

const read = async (made: Metrics): Promise<Family[]> => readExposition(await made.render());

describe('the metrics of a node', () => {
  it('have the values of stats()', async () => {
    const net = await line(1);
    net.last.bind('echo', (socket) => socket.pipe(socket));
    await net.first.waitFor('echo');
    const [near, middle, far] = net.nodes.map((node) => metricsOf(node)) as [Metrics, Metrics, Metrics];
    const socket = net.first.dial('echo');
    await within('connect', once(socket, 'connect'));
    await within('error', once(net.first.dial(`@${net.last.id}:9`), 'error'));
    await within('error', once(net.first.dial(`@${net.nodes[1]?.id}:9`), 'error'));
    const families = await read(near);
    expect(seriesOf(families, 'starlane_links')).toBe(1);
    expect(seriesOf(families, 'starlane_node_state', { state: 'open' })).toBe(1);
    expect(seriesOf(families, 'starlane_node_state', { state: 'draining' })).toBe(0);
    expect(seriesOf(families, 'starlane_dials_total', { result: 'connected' })).toBe(1);
    expect(seriesOf(families, 'starlane_dials_total', { result: 'failed' })).toBe(2);
    expect(seriesOf(families, 'starlane_dial_errors_total', { code: 'ECONNREFUSED' })).toBe(2);
    expect(seriesOf(families, 'starlane_dial_duration_seconds_count', { path: 'relayed' })).toBe(1);
    expect(seriesOf(families, 'starlane_dial_duration_seconds_count', { path: 'direct' })).toBe(0);
    expect(seriesOf(families, 'starlane_streams', { over: 'links' })).toBe(1);
    expect(seriesOf(families, 'starlane_node_info', { id: net.first.id })).toBe(1);
    expect(seriesOf(families, 'starlane_certificate_expiry_timestamp_seconds')).toBeUndefined();
    expect(seriesOf(families, 'starlane_members')).toBeUndefined();
    expect(seriesOf(await read(middle), 'starlane_circuits_relayed')).toBe(1);
    expect(seriesOf(await read(middle), 'starlane_relay_refused_total')).toBe(1);
    expect(seriesOf(await read(far), 'starlane_accepts_total', { result: 'accepted' })).toBe(1);
    socket.destroy();
    await turnsUntil('the end', () => net.first.stats().streams.links === 0);
    expect(seriesOf(await read(near), 'starlane_streams', { over: 'links' })).toBe(0);
  });

  it('count what happened before they were rendered for the first time, and not the dials of other nodes', async () => {
    const net = await line(0);
    const made = metricsOf(net.first);
    net.last.bind(':7', () => {});
    net.first.bind(':7', () => {});
    await within('connect', once(net.first.dial(`@${net.last.id}:7`), 'connect'));
    await within('connect', once(net.last.dial(`@${net.first.id}:7`), 'connect'));
    const families = await read(made);
    expect(seriesOf(families, 'starlane_dial_duration_seconds_count', { path: 'direct' })).toBe(1);
    expect(seriesOf(families, 'starlane_dial_duration_seconds_bucket', { path: 'direct', le: '10' })).toBe(1);
  });

  it('say how long links take, and count the bytes of links that are gone', async () => {
    const net = await line(0);
    const made = metricsOf(net.first);
    await turnsUntil('a round trip', () => net.first.links().every(({ rttMs }) => rttMs > 0));
    const families = await read(made);
    for (const stat of ['min', 'median', 'max']) {
      expect(seriesOf(families, 'starlane_link_rtt_seconds', { stat })).toBe(
        (net.first.links()[0]?.rttMs as number) / 1000,
      );
    }
    const before = seriesOf(families, 'starlane_link_bytes_total', { direction: 'in' }) as number;
    expect(before).toBeGreaterThan(100);
    await net.last.close();
    await turnsUntil(
      'the end of the link',
      () => net.first.stats().links.unsettled === 0 && net.first.links().length === 0,
    );
    const after = await read(made);
    expect(seriesOf(after, 'starlane_link_bytes_total', { direction: 'in' })).toBeGreaterThanOrEqual(before);
    expect(seriesOf(after, 'starlane_link_rtt_seconds', { stat: 'min' })).toBeUndefined();
  });

  it('have everything that stats() counts', async () => {
    const node = makeNode();
    const real = node.stats();
    let next = 1_000_000;
    const numbers = new Map<number, string>();
    const marked = (value: unknown, path: string): unknown => {
      if (typeof value === 'number') {
        numbers.set(++next, path);
        return next;
      }
      if (typeof value !== 'object' || value === null) return value;
      return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, marked(one, `${path}.${key}`)]));
    };
    node.stats = () => marked({ ...real, certificateExpiresAt: 1 }, 'stats') as NodeStats;
    const text = await metricsOf(node).render();
    // The last call is the one that was rendered.
    const last = next - [...numbers.values()].filter((path) => path === 'stats.holds').length;
    expect(last).toBeGreaterThan(0);
    const rendered = new Set(readExposition(text).flatMap(({ samples }) => samples.map(({ value }) => value)));
    const missing = new Set(numbers.values());
    for (const [value, path] of numbers) if (rendered.has(value) || rendered.has(value / 1000)) missing.delete(path);
    expect([...missing].sort()).toEqual([
      // Parts of other ones: started is connected, failed and pending; failed links are the sum by reason.
      'stats.dials.started',
      'stats.links.bytesIn',
      'stats.links.bytesOut',
      'stats.links.failed',
      // As the time at which the node was created.
      'stats.uptimeMs',
    ]);
  });

  it('have the time at which the certificate expires', async () => {
    const tls = await memberTls();
    const expiresAt = Date.parse(new X509Certificate(tls.cert).validTo);
    const node = makeNode({ tls });
    expect(node.stats().certificateExpiresAt).toBe(expiresAt);
    expect(seriesOf(await read(metricsOf(node)), 'starlane_certificate_expiry_timestamp_seconds')).toBe(
      expiresAt / 1000,
    );
    const network = await MemberNet.of([[0, 1]]);
    undo.push(() => network.close());
    const { first } = network.net;
    const { until } = first.members().find(({ id }) => id === first.id) as ListedMember;
    const families = await read(metricsOf(first));
    expect(seriesOf(families, 'starlane_certificate_expiry_timestamp_seconds')).toBe(until.getTime() / 1000);
    expect(seriesOf(families, 'starlane_members')).toBe(2);
  });

  it('have names as Prometheus wants them', async () => {
    for (const { name, type, help } of await read(metricsOf(makeNode(), { process: false, peers: true }))) {
      expect(name).toMatch(/^starlane_[a-z0-9_]+$/);
      expect([name, name.endsWith('_total')]).toEqual([name, type === 'counter']);
      expect(name).not.toMatch(/_(ms|milliseconds|kb|mb|count|sum|bucket)(_|$)/);
      expect(help).toMatch(/^[A-Z1].*\.$/);
    }
  });
});

describeUnless(NO_PROMTOOL, 'promtool', () => {
  it('finds no fault in the text', async () => {
    const net = await line(0);
    net.last.bind(':7', () => {});
    const made = metricsOf(net.first, { process: false, peers: true });
    await within('connect', once(net.first.dial(`@${net.last.id}:7`), 'connect'));
    await within('error', once(net.first.dial(`@${net.last.id}:8`), 'error'));
    expect(promtool(['check', 'metrics'], await made.render())).toEqual({ isContent: true, output: '' });
  });
});

describe('a registry of the application', () => {
  it('gets the metrics, beside its own', async () => {
    const registry = new client.Registry();
    new client.Gauge({
      name: 'app_orders',
      help: 'Orders.',
      registers: [registry],
      collect() {
        this.set(3);
      },
    });
    const made = metricsOf(makeNode(), { registry });
    const families = await read(made);
    expect(seriesOf(families, 'app_orders')).toBe(3);
    expect(seriesOf(families, 'starlane_links')).toBe(0);
    expect(seriesOf(families, 'process_resident_memory_bytes')).toBeUndefined();
    expect(await registry.metrics()).toContain('starlane_build_info');
    expect(await registry.getSingleMetricAsString('starlane_joins')).toContain('starlane_joins 0');
    expect(client.register.getMetricsAsArray()).toEqual([]);
  });

  it('loses them with close() and with the end of the node, so that another node can take their place', async () => {
    const registry = new client.Registry();
    const [first, second] = [makeNode(), makeNode()];
    const made = metrics(first, { registry });
    await made.render();
    made.close();
    made.close();
    expect(registry.getMetricsAsArray()).toEqual([]);
    const again = metrics(first, { registry });
    await again.render();
    await first.close();
    expect(registry.getMetricsAsArray()).toEqual([]);
    expect(seriesOf(await read(metricsOf(second, { registry })), 'starlane_node_info', { id: second.id })).toBe(1);
  });

  it('with one of the names keeps what it has: render() fails', async () => {
    const registry = new client.Registry();
    const warned = jest.spyOn(process, 'emitWarning').mockImplementation(() => {});
    undo.push(() => warned.mockRestore());
    new client.Gauge({ name: 'starlane_joins', help: 'Of somebody else.', registers: [registry] });
    await expect(metricsOf(makeNode(), { registry }).render()).rejects.toThrow('starlane_joins');
    expect(registry.getMetricsAsArray().map(({ name }) => name)).toEqual(['starlane_joins']);
    expect(warned.mock.calls.map(([text]) => String(text))).toEqual([expect.stringContaining('starlane_joins')]);
  });

  it.each([[{ registry: {} }], [{ process: 1 }], [{ peers: 'yes' }]])(
    'or an option of another kind is refused: %j',
    (options) => {
      expect(thrownCode(() => metrics(makeNode(), options as never))).toBe('ERR_STARLANE_OPTION');
    },
  );
});

describe('a metrics object', () => {
  it('renders the state of a node that is closed', async () => {
    const node = makeNode();
    const made = metricsOf(node);
    await made.render();
    await node.close();
    expect(seriesOf(await read(made), 'starlane_node_state', { state: 'closed' })).toBe(1);
  });

  it('answers requests', async () => {
    const made = metricsOf(makeNode());
    const server = createServer(made.handler).listen(0, '127.0.0.1');
    undo.push(() => server.close());
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const ask = async (method: string): Promise<{ status?: number; type?: string; body: string }> => {
      const request = get({ port, host: '127.0.0.1', method, agent: false });
      const [response] = await within('the response', once(request, 'response'));
      let body = '';
      for await (const chunk of response) body += chunk;
      return { status: response.statusCode, type: response.headers['content-type'], body };
    };
    const { status, type, body } = await ask('GET');
    expect([status, type]).toEqual([200, made.contentType]);
    expect(readExposition(body).length).toBeGreaterThan(50);
    expect(await ask('HEAD')).toEqual({ status, type, body: '' });
    expect(await ask('POST')).toMatchObject({ status: 405, body: '' });
  });

  it('answers 500 when a metric of the application fails, without its error', async () => {
    const registry = new client.Registry();
    new client.Gauge({
      name: 'app_orders',
      help: 'Orders.',
      registers: [registry],
      collect() {
        throw new Error('secret');
      },
    });
    const warned = jest.spyOn(process, 'emitWarning').mockImplementation(() => {});
    undo.push(() => warned.mockRestore());
    const made = metricsOf(makeNode(), { registry });
    const written: unknown[] = [];
    const response = {
      writeHead: (status: number) => {
        written.push(status);
        return response;
      },
      end: (body: string) => written.push(body),
    };
    await made.handler({ method: 'GET' } as never, response as never);
    expect(written).toEqual([500, 'the metrics cannot be read\n']);
    await made.handler({ method: 'GET' } as never, response as never);
    expect(warned.mock.calls.map(([text]) => text)).toEqual(['the metrics cannot be read: secret']);
  });
});
