// starlane gateway

import { resolve } from 'node:path';
import type { Gateway, GatewayAccess } from '../../http/gateway/gateway.js';
import { gateway as openGateway } from '../../http/gateway/open.js';
import type {
  GatewayListener,
  GatewayOptions,
  GatewayRule,
  GatewayServices,
  GatewayTarget,
} from '../../http/gateway/options.js';
import { defineCommand } from '../command.js';
import { ExitCode, Failure, lineOf, usage } from '../failure.js';
import { flag, type ValuesOf } from '../flags.js';
import type { Log } from '../log.js';
import type { NodeWork, Task, TaskHost } from '../run/task.js';
import { useNetwork } from '../run/use-network.js';

const FLAGS = {
  port: flag.integer('the port to listen at; 0 takes a free one', { min: 0, max: 65_535, otherwise: '8081' }),
  tlsPort: flag.integer('a port for https, with --cert or --acme-name', { min: 0, max: 65_535 }),
  bind: flag.text('the address of this machine at which to listen', { value: 'HOST', otherwise: '127.0.0.1' }),
  unix: flag.text('a unix socket to listen at, instead of a port', { value: 'PATH' }),
  fd: flag.integer('a listening socket that is inherited, as by socket activation: 3 is the first', {
    min: 3,
    max: 1_023,
  }),
  service: flag.text('a name under which nodes of the network can use the gateway as well', { value: 'NAME' }),
  suffix: flag.list('suffixes of hosts whose first label names a service: .example.test', { value: 'SUFFIX' }),
  expose: flag.list('the services to which a suffix may lead, with asterisks', { value: 'PATTERN', otherwise: '*' }),
  route: flag.list(
    'HOST=TARGET, /PATH=TARGET or HOST/PATH=TARGET; several services in order: a,b; by shares: a=90,b=10',
    {
      value: 'ROUTE',
      isWhole: true,
    },
  ),
  default: flag.text('the target of what no route and no suffix matches', { value: 'TARGET', otherwise: 'status 404' }),
  strip: flag.boolean('take the path of a route off before the service sees it', { otherwise: 'false' }),
  sticky: flag.text('what keeps a client at its instance: cookie:NAME, header:NAME or ip', { value: 'KEY' }),
  trustProxy: flag.list('proxies whose X-Forwarded-* and Forwarded are kept: true, or addresses and CIDRs', {
    value: 'CIDR',
    otherwise: 'none',
  }),
  proxyProtocol: flag.boolean('expect a header of the PROXY protocol from trusted proxies', { otherwise: 'false' }),
  cert: flag.list('certificates, in PEM; read again when they change', { value: 'FILE' }),
  key: flag.list('their keys, in the same order', { value: 'FILE' }),
  clientCa: flag.text('authorities of clients, in PEM', { value: 'FILE' }),
  requireClientCert: flag.boolean('refuse clients without a certificate', { otherwise: 'false' }),
  acmeName: flag.list('names for which to get certificates by ACME, which needs port 80', { value: 'NAME' }),
  acmeFolder: flag.text('where to keep them', { value: 'FOLDER' }),
  acmeEmail: flag.text('for messages of the authority', { value: 'EMAIL' }),
  acmeDirectory: flag.text("the authority (else Let's Encrypt)", { value: 'URL' }),
  acmeAcceptTerms: flag.boolean('accept its terms of service', { otherwise: 'false' }),
  accessLog: flag.boolean('log each request', { otherwise: 'false' }),
  maxConnections: flag.integer('how many connections may be open', { min: 1, otherwise: '16384' }),
  maxRequests: flag.integer('how many requests may be open', { min: 1, otherwise: '16384' }),
  maxHeaderBytes: flag.integer('how long the head of a request may be', {
    min: 1_024,
    max: 1_048_576,
    otherwise: '16384',
  }),
  headersTimeout: flag.duration('how long the head of a request may take', { min: 1, otherwise: '10s' }),
  bodyTimeout: flag.duration('how long a client may pause in a body', { min: 1, otherwise: '60s' }),
  answerTimeout: flag.duration('how long a service may take to begin its answer', { min: 1, otherwise: '60s' }),
  idleTimeout: flag.duration('how long an answer or a WebSocket may be silent', { min: 1, otherwise: '10m' }),
  keepAlive: flag.duration('how long a connection may wait for its next request', { min: 1, otherwise: '60s' }),
} as const;

type Values = ValuesOf<typeof FLAGS>;

const DEFAULT_PORT = 8081;

class GatewayTask implements Task {
  readonly title = 'gateway';
  readonly nodeWork: NodeWork | undefined;
  private gateway: Gateway | undefined;
  private log: Log | undefined;

  /** @throws Failure */
  constructor(private values: Values) {
    // Another process does not have the socket.
    if (values.fd === undefined) this.nodeWork = { command: 'gateway', key: '', values };
    optionsOf(values);
  }

  async start({ overlay, log }: TaskHost): Promise<void> {
    if (overlay.node === undefined) {
      throw new Failure(
        'gateway: a socket that this process has inherited needs the node here; see --no-share',
        ExitCode.BUSY,
      );
    }
    this.log = log;
    const gateway = await openGateway(overlay.node, optionsOf(this.values));
    this.gateway = gateway;
    gateway.on('warning', (error) => log.warn(`gateway: ${lineOf(error)}`));
    gateway.on('access', (entry) => this.onAccess(entry));
  }

  async update(next: Task): Promise<boolean> {
    if (!(next instanceof GatewayTask) || this.gateway === undefined) return false;
    await this.gateway.reload(optionsOf(next.values));
    this.values = next.values;
    return true;
  }

  async stop(signal: AbortSignal): Promise<void> {
    const { gateway } = this;
    if (gateway === undefined) return;
    if (signal.aborted) return gateway.close({ timeoutMs: 0 });
    // A second close with a shorter time breaks off what is left.
    signal.addEventListener('abort', () => void gateway.close({ timeoutMs: 0 }), { once: true });
    await gateway.close({ timeoutMs: LONGEST_DRAIN_MS });
  }

  status(): Record<string, unknown> {
    const { gateway } = this;
    if (gateway === undefined) return {};
    const stats = gateway.stats();
    return {
      listens: addressesOf(gateway).join(' '),
      state: stats.state,
      open: stats.requests.open,
      requests: stats.requests.total,
    };
  }

  private onAccess({
    method,
    host,
    path,
    status,
    durationMs,
    service,
    bytesOut,
    requestId,
    ...rest
  }: GatewayAccess): void {
    if (this.values.accessLog !== true) return;
    const line = `${method} ${host}${path} ${status} ${Math.round(durationMs)} ms ${service === '' ? '-' : service}`;
    this.log?.info(line, { method, host, path, status, durationMs, service, bytesOut, requestId, ...rest });
  }
}

/** The signal of the end comes first. */
const LONGEST_DRAIN_MS = 2_147_483_647;

/** Returns where a gateway listens, as URLs. */
function addressesOf(gateway: Gateway): string[] {
  return gateway.addresses.map(({ host, port, path, service, tls }) => {
    if (path !== undefined) return `unix:${path}`;
    if (service !== undefined) return `service ${service}`;
    const shown = host?.includes(':') ? `[${host}]` : host;
    return `${tls ? 'https' : 'http'}://${shown}:${port}`;
  });
}

/** @throws Failure */
function optionsOf(values: Values): GatewayOptions {
  const { hosts, paths } = routesOf(values);
  return {
    listen: listenersOf(values),
    suffix: values.suffix,
    expose: values.expose,
    hosts,
    paths,
    default: values.default === undefined ? undefined : targetOf(values.default, values, '--default'),
    trustProxy: trustOf(values.trustProxy),
    tls: tlsOf(values),
    acme: acmeOf(values),
    ...limitsOf(values),
  };
}

function listenersOf({
  port,
  tlsPort,
  bind,
  unix,
  fd,
  service,
  proxyProtocol,
  cert,
  acmeName,
}: Values): GatewayListener[] {
  const found: GatewayListener[] = [];
  if (unix !== undefined) found.push({ path: unix });
  if (fd !== undefined)
    found.push({ fd, tls: tlsPort === undefined && (cert !== undefined || acmeName !== undefined) });
  if (port !== undefined || (unix === undefined && fd === undefined))
    found.push({ port: port ?? DEFAULT_PORT, host: bind, proxyProtocol });
  if (tlsPort !== undefined) {
    if (cert === undefined && acmeName === undefined) throw usage('gateway: --tls-port needs --cert or --acme-name');
    found.push({ port: tlsPort, host: bind, tls: true, proxyProtocol });
  }
  if (service !== undefined) found.push({ service });
  return found;
}

function routesOf(values: Values): Pick<GatewayOptions, 'hosts' | 'paths'> {
  const paths: Record<string, GatewayTarget> = Object.create(null);
  const hosts: Record<string, GatewayRule & { paths: Record<string, GatewayTarget> }> = Object.create(null);
  for (const route of values.route ?? []) {
    const equals = route.indexOf('=');
    const where = route.slice(0, equals);
    if (equals < 1 || equals === route.length - 1)
      throw usage(`--route ${route}: must be HOST=TARGET, /PATH=TARGET or HOST/PATH=TARGET`);
    const target = targetOf(route.slice(equals + 1), values, `--route ${route}`);
    const slash = where.indexOf('/');
    if (slash === 0) {
      paths[where] = { ...target, strip: values.strip };
      continue;
    }
    const host = slash < 0 ? where : where.slice(0, slash);
    hosts[host] ??= { paths: {} };
    const rule = hosts[host];
    if (slash < 0) Object.assign(rule, target);
    else rule.paths[where.slice(slash)] = { ...target, strip: values.strip };
  }
  return { hosts, paths };
}

/** Returns the rule for `web`, `web-v2,web-v1` (in that order), or `web-v1=90,web-v2=10` (by shares). @throws Failure */
function targetOf(text: string, { sticky }: Values, where: string): GatewayRule {
  const parts = text.split(',').map((part) => part.trim());
  if (parts.some((part) => part === '')) throw usage(`${where}: must be a service, or several with commas between`);
  const rule: GatewayRule = { sticky: sticky as GatewayRule['sticky'] };
  const shared = parts.filter((part) => part.includes('='));
  if (shared.length === 0) return { ...rule, services: parts.length === 1 ? parts[0] : parts };
  const services: Record<string, number> = Object.create(null);
  for (const part of parts) {
    const match = /^(.+)=(\d+)$/.exec(part);
    if (match === null) throw usage(`${where}: ${part} must be SERVICE=SHARE, as the others are`);
    services[match[1]] = Number(match[2]);
  }
  return { ...rule, services: services as GatewayServices };
}

function trustOf(given: readonly string[] | undefined): GatewayOptions['trustProxy'] {
  if (given === undefined) return undefined;
  if (given.length === 1 && (given[0] === 'true' || given[0] === 'false')) return given[0] === 'true';
  return given;
}

function tlsOf({ cert = [], key = [], clientCa, requireClientCert }: Values): GatewayOptions['tls'] {
  if (cert.length !== key.length) throw usage('gateway: --cert and --key must be given the same number of times');
  if (cert.length === 0) return undefined;
  return {
    certificates: cert.map((path, index) => ({ cert: path, key: key[index] })),
    clientCa,
    requireClientCertificate: requireClientCert,
  };
}

function acmeOf({ acmeName, acmeFolder, acmeEmail, acmeDirectory, acmeAcceptTerms }: Values): GatewayOptions['acme'] {
  if (acmeName === undefined) return undefined;
  if (acmeFolder === undefined) throw usage('gateway: --acme-name needs --acme-folder');
  return {
    names: acmeName,
    folder: acmeFolder,
    email: acmeEmail,
    directory: acmeDirectory,
    acceptTerms: acmeAcceptTerms === true,
  };
}

function limitsOf(values: Values): Partial<GatewayOptions> {
  return {
    maxConnections: values.maxConnections,
    maxRequests: values.maxRequests,
    maxHeaderBytes: values.maxHeaderBytes,
    headersTimeoutMs: values.headersTimeout,
    bodyTimeoutMs: values.bodyTimeout,
    answerTimeoutMs: values.answerTimeout,
    idleTimeoutMs: values.idleTimeout,
    keepAliveTimeoutMs: values.keepAlive,
  };
}

/** The process with the node may be in another folder. */
function absolute(values: Values): Values {
  const one = (path: string | undefined) => (path === undefined ? undefined : resolve(path));
  const many = (paths: readonly string[] | undefined) => paths?.map((path) => resolve(path));
  const { cert, key, clientCa, acmeFolder, unix } = values;
  return {
    ...values,
    cert: many(cert),
    key: many(key),
    clientCa: one(clientCa),
    acmeFolder: one(acmeFolder),
    unix: one(unix),
  };
}

export const gateway = defineCommand({
  name: 'gateway',
  summary: 'let HTTP clients outside reach services, by host and path',
  description:
    'HTTP/1.1, HTTP/2, WebSocket, server-sent events and gRPC. It says who the caller is in headers, and strips what callers say.',
  usesNode: true,
  flags: FLAGS,
  examples: [
    {
      line: 'starlane gateway --port 8081 --suffix .example.test',
      about: 'http://web.example.test:8081 is the service web',
    },
    {
      line: "starlane gateway --route 'shop.test=shop-v1=90,shop-v2=10'",
      about: 'a tenth of the requests to a new version',
    },
  ],
  task: (_key, values) => new GatewayTask(values as Values),
  async run(context, _args, values) {
    const task = new GatewayTask(absolute(values));
    const access = await useNetwork(context, { needsLink: true });
    return access.work([task], ([running]) => {
      const { listens } = running.status();
      context.output.json({ listens });
      context.output.line(`gateway at ${listens}`);
    });
  },
});
