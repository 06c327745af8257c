// starlane metrics

import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import { type Metrics, metrics as measure } from '../../http/metrics/metrics.js';
import { createApi } from '../../node/queries/queries.js';
import { defineCommand } from '../command.js';
import { flag, type ValuesOf } from '../flags.js';
import type { NodeWork, Task, TaskHost } from '../run/task.js';
import { useNetwork } from '../run/use-network.js';

const FLAGS = {
  port: flag.integer('the port; 0 takes a free one', { min: 0, max: 65_535, otherwise: '9464' }),
  bind: flag.text('the address of this machine at which to listen', { value: 'HOST', otherwise: '127.0.0.1' }),
  peers: flag.boolean('add metrics of each link, with the id of the peer', { otherwise: 'false' }),
} as const;

type Values = ValuesOf<typeof FLAGS>;

/** What OpenTelemetry uses for exporters of Prometheus. */
const DEFAULT_PORT = 9464;
/** Scrapers and probes ask for one small thing. */
const LIMITS = { maxHeaderSize: 8_192, headersTimeout: 10_000, requestTimeout: 10_000, keepAliveTimeout: 60_000 };
const MAX_CONNECTIONS = 64;

/** The paths of probes, and what they ask the node. */
const PROBES: ReadonlyMap<string, string> = new Map([
  ['/health', '/v1/health'],
  ['/ready', '/v1/ready'],
]);

class MetricsTask implements Task {
  readonly title = 'metrics';
  readonly nodeWork: NodeWork;
  private server: Server | undefined;
  private metrics: Metrics | undefined;

  constructor(private readonly values: Values) {
    this.nodeWork = { command: 'metrics', key: '', values };
  }

  async start({ overlay }: TaskHost): Promise<void> {
    const { node } = overlay;
    if (node === undefined) throw new Error('the metrics need the node');
    const { port = DEFAULT_PORT, bind = '127.0.0.1', peers } = this.values;
    const metrics = measure(node, { peers });
    const api = createApi(node);
    const server = createServer(LIMITS, (request, response) => answer(metrics, api, request, response));
    server.maxConnections = MAX_CONNECTIONS;
    try {
      server.listen(port, bind);
      await once(server, 'listening');
    } catch (error) {
      metrics.close();
      throw error;
    }
    this.server = server;
    this.metrics = metrics;
  }

  /** After a reload without a change of its section, it goes on. */
  async update(next: Task): Promise<boolean> {
    return next instanceof MetricsTask && isDeepStrictEqual(next.values, this.values);
  }

  async stop(): Promise<void> {
    const { server } = this;
    if (server === undefined) return;
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
    this.metrics?.close();
  }

  status(): Record<string, unknown> {
    const address = this.server?.address() as AddressInfo | null | undefined;
    if (address === null || address === undefined) return {};
    const host = address.family === 'IPv6' ? `[${address.address}]` : address.address;
    return { url: `http://${host}:${address.port}/metrics` };
  }
}

function answer(
  metrics: Metrics,
  api: ReturnType<typeof createApi>,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const [path] = (request.url ?? '/').split('?');
  const probe = PROBES.get(path);
  if (probe !== undefined) {
    request.url = probe;
    api(request, response);
  } else if (path === '/metrics') void metrics.handler(request, response);
  else response.writeHead(404, { 'content-type': 'text/plain' }).end('see /metrics, /health and /ready\n');
}

export const metrics = defineCommand({
  name: 'metrics',
  summary: 'serve metrics for Prometheus, and health for probes',
  description:
    'At /metrics, /health and /ready. They have no secrets, but no protection either: bind them where only your own programs can ask.',
  usesNode: true,
  flags: FLAGS,
  examples: [
    { line: 'starlane metrics', about: 'at http://127.0.0.1:9464/metrics' },
    { line: 'starlane metrics --bind 10.0.0.5 --peers', about: 'for a Prometheus of the same network' },
  ],
  task: (_key, values) => new MetricsTask(values as Values),
  async run(context, _args, values) {
    const access = await useNetwork(context, { needsLink: true });
    return access.work([new MetricsTask(values)], ([task]) => {
      const { url } = task.status();
      context.output.json({ url });
      context.output.line(`metrics at ${url}`);
    });
  },
});
