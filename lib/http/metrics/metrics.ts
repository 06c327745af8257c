// The metrics of a node for Prometheus, by prom-client, which is loaded with the first call.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { optionError } from '../../errors.js';
import type { Node } from '../../node/node.js';
import { dateNow, queueMicrotask } from '../../util/runtime/real-timers.js';
import { VERSION } from '../../util/version.js';
import { observeDials } from './dial-observer.js';
import { NODE_METRICS, type NodeMetric, PEER_METRICS, type Snapshot } from './node-metrics.js';

/** A registry of prom-client, which may be that of the application in another version of the package. */
export interface MetricsRegistry {
  readonly contentType: string;
  metrics(): Promise<string>;
  registerMetric(metric: never): void;
  removeSingleMetric(name: string): void;
}

export interface MetricsOptions {
  /** A registry of prom-client (14 or later) to put the metrics into, such as the `register` of the application. Default one of its own. */
  registry?: MetricsRegistry | undefined;
  /**
   * Whether to add the metrics of the process: memory, CPU, garbage collection, the delay of the event loop. Default true for a registry of
   * its own, else false.
   */
  process?: boolean | undefined;
  /** Whether to add metrics of each link, with the id of the peer as a label: one to four series a link. Default false. */
  peers?: boolean | undefined;
}

/** The metrics of one node. */
export interface Metrics {
  /** The media type of {@link render}. */
  readonly contentType: string;
  /** Returns all metrics of the registry in the text format of Prometheus. */
  render(): Promise<string>;
  /** Answers a request for the metrics: a listener for `http.Server`, and a handler for Express. It does not look at the path. */
  handler(request: IncomingMessage, response: ServerResponse): Promise<void>;
  /** Stops the measurement, and takes the metrics out of the registry. The end of the node does so as well. */
  close(): void;
}

const PREFIX = 'starlane_';
const TEXT_FORMAT = 'text/plain; version=0.0.4; charset=utf-8';

/** In s: a local link answers in a fraction of a millisecond, and a dial takes ten seconds by default. */
const DURATION_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** Dials that end while prom-client is being loaded, and are remembered. */
const MAX_EARLY = 10_000;

/**
 * Measures a node from now on, for Prometheus.
 * @throws ERR_STARLANE_OPTION
 */
export function metrics(node: Node, options: MetricsOptions = {}): Metrics {
  checkOptions(options);
  return new NodeMetrics(node, options);
}

class NodeMetrics implements Metrics {
  private readonly startedAtS: number;
  private readonly loaded: Promise<MetricsRegistry>;
  /** Measurements that wait for the meters. */
  private early: Array<(meters: Meters) => void> = [];
  private meters: Meters | undefined;
  private readonly stop: () => void;
  private lastFault: string | undefined;
  private isFresh = false;
  private isClosed = false;

  constructor(
    private readonly node: Node,
    private readonly options: MetricsOptions,
  ) {
    this.startedAtS = Math.round(dateNow() - node.stats().uptimeMs) / 1000;
    this.stop = observeDials(node.id, {
      onConnected: (path, seconds) => this.measure(({ durations }) => durations.observe({ path }, seconds)),
      onFailed: (code) => this.measure(({ failures }) => failures.inc({ code })),
    });
    this.loaded = this.load();
    // The application may never call render(), as it has a registry of its own.
    this.loaded.catch((error) => this.warn(error));
    node.once('close', () => this.end(options.registry !== undefined));
  }

  get contentType(): string {
    return this.options.registry?.contentType ?? TEXT_FORMAT;
  }

  async render(): Promise<string> {
    const registry = await this.loaded;
    return registry.metrics();
  }

  // A property, so that it can be passed on alone.
  readonly handler = async ({ method }: IncomingMessage, response: ServerResponse): Promise<void> => {
    if (method !== 'GET' && method !== 'HEAD') {
      response.writeHead(405, { allow: 'GET, HEAD' }).end();
      return;
    }
    try {
      const body = Buffer.from(await this.render());
      const headers = {
        'content-type': this.contentType,
        'content-length': body.length,
        'cache-control': 'no-store',
      };
      response.writeHead(200, headers).end(method === 'HEAD' ? undefined : body);
    } catch (error) {
      // A metric of the application may have failed, whose error is not for those who scrape.
      this.warn(error);
      response.writeHead(500, { 'content-type': 'text/plain' }).end('the metrics cannot be read\n');
    }
  };

  close(): void {
    this.end(true);
  }

  /** Warns once of each fault: there is a scrape every few seconds. */
  private warn(error: unknown): void {
    const { message } = error as Error;
    if (message === this.lastFault) return;
    this.lastFault = message;
    process.emitWarning(`the metrics cannot be read: ${message}`, { type: 'StarlaneWarning' });
  }

  private end(isRemoved: boolean): void {
    if (!this.isClosed) this.stop();
    this.isClosed = true;
    this.early = [];
    if (isRemoved) this.meters?.remove();
  }

  private async load(): Promise<MetricsRegistry> {
    const { default: client } = await import('prom-client');
    const registry = this.options.registry ?? new client.Registry();
    if (this.isClosed) return registry;
    const { process: hasProcess = this.options.registry === undefined, peers = false } = this.options;
    if (hasProcess) client.collectDefaultMetrics({ register: registry as Registry });
    const table = peers ? [...NODE_METRICS, ...PEER_METRICS] : NODE_METRICS;
    this.meters = new Meters(client, registry, table, () => this.refresh());
    for (const run of this.early) run(this.meters);
    this.early = [];
    return registry;
  }

  private measure(run: (meters: Meters) => void): void {
    if (this.meters !== undefined) run(this.meters);
    else if (this.early.length < MAX_EARLY) this.early.push(run);
  }

  /** Takes the values of all metrics from one snapshot, for the first metric of a scrape. */
  private refresh(): void {
    if (this.isFresh) return;
    this.isFresh = true;
    // A scrape asks all metrics in one go.
    queueMicrotask(() => {
      this.isFresh = false;
    });
    const { node, startedAtS } = this;
    const members = node.members().length;
    this.meters?.set({
      stats: node.stats(),
      links: node.links(),
      members: members === 0 ? undefined : members,
      startedAtS,
      version: VERSION,
    });
  }
}

type Client = typeof import('prom-client');

/** The metrics in the registry. */
class Meters {
  readonly durations: Histogram<'path'>;
  readonly failures: Counter<'code'>;
  private readonly ofNode: Array<{ readonly metric: NodeMetric; readonly meter: Gauge | Counter }> = [];
  private readonly names: string[] = [];

  /** @throws Error of prom-client when the registry has one of these names; then it gets none of them */
  constructor(
    client: Client,
    private readonly registry: MetricsRegistry,
    table: readonly NodeMetric[],
    collect: () => void,
  ) {
    const registers = [registry as Registry];
    const add = <Meter>(name: string, make: (full: string) => Meter): Meter => {
      const made = make(PREFIX + name);
      this.names.push(PREFIX + name);
      return made;
    };
    try {
      for (const metric of table) {
        const Kind = metric.type === 'counter' ? client.Counter : client.Gauge;
        const { help, labels = [] } = metric;
        const meter = add(metric.name, (name) => new Kind({ name, help, labelNames: [...labels], registers, collect }));
        this.ofNode.push({ metric, meter });
      }
      this.failures = add(
        'dial_errors_total',
        (name) =>
          new client.Counter({
            name,
            help: 'Dials that failed, by the code of the error.',
            labelNames: ['code'],
            registers,
          }),
      );
      this.durations = add(
        'dial_duration_seconds',
        (name) =>
          new client.Histogram({
            name,
            help: 'How long connected dials took, over a direct link or through relays.',
            labelNames: ['path'],
            buckets: DURATION_BUCKETS,
            registers,
          }),
      );
    } catch (error) {
      this.remove();
      throw error;
    }
    for (const path of ['direct', 'relayed']) this.durations.zero({ path });
  }

  set(snapshot: Snapshot): void {
    for (const { metric, meter } of this.ofNode) {
      meter.reset();
      // reset() leaves a metric without labels at 0, also where it has no value.
      if (metric.labels === undefined) meter.remove();
      for (const [value, labels = {}] of metric.values(snapshot)) {
        if (metric.type === 'gauge') (meter as Gauge).set(labels, value);
        else meter.inc(labels, value);
      }
    }
  }

  remove(): void {
    for (const name of this.names) this.registry.removeSingleMetric(name);
  }
}

function checkOptions({ registry, process: hasProcess, peers }: MetricsOptions): void {
  if (registry !== undefined && typeof registry?.registerMetric !== 'function') {
    throw optionError('registry', 'must be a Registry of prom-client');
  }
  if (hasProcess !== undefined && typeof hasProcess !== 'boolean') throw optionError('process', 'must be a boolean');
  if (peers !== undefined && typeof peers !== 'boolean') throw optionError('peers', 'must be a boolean');
}
