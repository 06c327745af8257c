// The options of a gateway, checked and filled in.

import { optionError } from '../../errors.js';
import { MAX_TIMEOUT_MS } from '../../util/timers.js';
import { Trust } from './forwarded.js';
import type { GatewayAcme, GatewayLimits, GatewayListener, GatewayOptions, GatewayTls } from './options.js';
import { Routes } from './routes.js';

type Limits = { readonly [Name in keyof GatewayLimits]-?: number };

/** What a gateway works by. Replaced as a whole by `reload`; requests keep the one that they began with. */
export interface GatewayConfig {
  readonly limits: Limits;
  readonly listeners: readonly GatewayListener[];
  readonly routes: Routes;
  readonly trust: Trust;
  readonly tls: GatewayTls | undefined;
  readonly acme: GatewayAcme | undefined;
  readonly secure: boolean | undefined;
}

interface LimitRule {
  readonly value: number;
  readonly min: number;
  readonly max: number;
}

/** @internal The default and the range of each limit. */
export const GATEWAY_LIMITS: Readonly<Record<keyof GatewayLimits, LimitRule>> = {
  maxConnections: { value: 16_384, min: 1, max: 1_000_000 },
  maxConnectionsPerAddress: { value: 1_024, min: 1, max: 1_000_000 },
  maxRequests: { value: 16_384, min: 1, max: 1_000_000 },
  maxRequestsPerConnection: { value: 128, min: 1, max: 10_000 },
  maxHeaderBytes: { value: 16_384, min: 1_024, max: 1_048_576 },
  maxHeaders: { value: 128, min: 8, max: 1_000 },
  maxUrlBytes: { value: 8_192, min: 64, max: 1_048_576 },
  headersTimeoutMs: { value: 10_000, min: 10, max: MAX_TIMEOUT_MS },
  keepAliveTimeoutMs: { value: 60_000, min: 10, max: MAX_TIMEOUT_MS },
  bodyTimeoutMs: { value: 60_000, min: 10, max: MAX_TIMEOUT_MS },
  answerTimeoutMs: { value: 60_000, min: 10, max: MAX_TIMEOUT_MS },
  idleTimeoutMs: { value: 600_000, min: 10, max: MAX_TIMEOUT_MS },
  dialTimeoutMs: { value: 10_000, min: 10, max: MAX_TIMEOUT_MS },
  absentTimeoutMs: { value: 1_000, min: 1, max: MAX_TIMEOUT_MS },
};

const OTHER_OPTIONS: ReadonlySet<string> = new Set([
  'listen',
  'suffix',
  'expose',
  'hosts',
  'paths',
  'default',
  'trustProxy',
  'tls',
  'acme',
  'secure',
]);

const DEFAULT_PORT = 8080;
const MAX_LISTENERS = 64;
const MAX_ACME_NAMES = 100;

/** @throws ERR_STARLANE_OPTION */
export function resolveConfig(options: GatewayOptions = {}): GatewayConfig {
  if (typeof options !== 'object' || options === null) throw optionError('options', 'must be an object');
  for (const name of Object.keys(options)) {
    if (!(name in GATEWAY_LIMITS) && !OTHER_OPTIONS.has(name)) throw optionError(name, 'unknown option of a gateway');
  }
  const tls = checkTls(options.tls);
  const acme = checkAcme(options.acme);
  const listeners = checkListeners(options.listen);
  if (listeners.some((listener) => listener.tls === true) && tls?.certificates === undefined && acme === undefined)
    throw optionError('listen', 'tls: true needs certificates, from the option tls or acme');
  if (options.secure !== undefined && typeof options.secure !== 'boolean')
    throw optionError('secure', 'must be true or false');
  return {
    limits: checkLimits(options),
    listeners,
    routes: new Routes(options),
    trust: new Trust(options.trustProxy),
    tls,
    acme,
    secure: options.secure,
  };
}

function checkLimits(options: GatewayLimits): Limits {
  const limits: Record<string, number> = {};
  for (const [name, { value, min, max }] of Object.entries(GATEWAY_LIMITS)) {
    const given = options[name as keyof GatewayLimits];
    if (given !== undefined && !(Number.isInteger(given) && given >= min && given <= max))
      throw optionError(name, `must be an integer from ${min} to ${max}`);
    limits[name] = given ?? value;
  }
  return limits as Limits;
}

function checkListeners(option: GatewayOptions['listen'] = DEFAULT_PORT): GatewayListener[] {
  const list = (Array.isArray(option) ? option : [option]) as ReadonlyArray<number | GatewayListener>;
  if (list.length === 0 || list.length > MAX_LISTENERS)
    throw optionError('listen', `needs 1 to ${MAX_LISTENERS} listeners`);
  return list.map((entry) => checkListener(typeof entry === 'number' ? { port: entry } : entry));
}

const LISTENER_OPTIONS = ['port', 'host', 'path', 'fd', 'service', 'tls', 'proxyProtocol'];

function checkListener(listener: GatewayListener): GatewayListener {
  if (typeof listener !== 'object' || listener === null) throw optionError('listen', 'must be a port or an object');
  for (const name of Object.keys(listener)) {
    if (!LISTENER_OPTIONS.includes(name)) throw optionError(`listen.${name}`, 'unknown option');
  }
  const { port, host, path, fd, service, tls, proxyProtocol } = listener;
  const places = [port, path, fd, service].filter((place) => place !== undefined);
  if (places.length !== 1) throw optionError('listen', 'one of port, path, fd and service is needed');
  if (port !== undefined && !(Number.isInteger(port) && port >= 0 && port <= 65_535))
    throw optionError('listen.port', 'must be 0 to 65535');
  if (fd !== undefined && !(Number.isInteger(fd) && fd >= 3)) throw optionError('listen.fd', 'must be 3 or more');
  for (const [name, text] of Object.entries({ host, path, service })) {
    if (text !== undefined && (typeof text !== 'string' || text === ''))
      throw optionError(`listen.${name}`, 'must be a text');
  }
  if (host !== undefined && port === undefined) throw optionError('listen.host', 'needs a port');
  for (const [name, flag] of Object.entries({ tls, proxyProtocol })) {
    if (flag !== undefined && typeof flag !== 'boolean') throw optionError(`listen.${name}`, 'must be true or false');
  }
  if (service !== undefined && proxyProtocol === true)
    throw optionError('listen.proxyProtocol', 'is not for a service of the mesh');
  return listener;
}

function checkTls(tls: GatewayTls | undefined): GatewayTls | undefined {
  if (tls === undefined) return undefined;
  if (typeof tls !== 'object' || tls === null) throw optionError('tls', 'must be an object');
  const { certificates, clientCa, requireClientCertificate, minVersion, ...others } = tls;
  for (const name of Object.keys(others)) throw optionError(`tls.${name}`, 'unknown option');
  if (certificates !== undefined) {
    const isGood = (entry: unknown): boolean =>
      typeof (entry as { cert?: unknown })?.cert === 'string' && typeof (entry as { key?: unknown })?.key === 'string';
    if (!Array.isArray(certificates) || certificates.length === 0 || !certificates.every(isGood))
      throw optionError('tls.certificates', 'must be a list of { cert, key } with paths of PEM files');
  }
  if (clientCa !== undefined && typeof clientCa !== 'string') throw optionError('tls.clientCa', 'must be a path');
  if (requireClientCertificate === true && clientCa === undefined)
    throw optionError('tls.requireClientCertificate', 'needs clientCa');
  if (minVersion !== undefined && minVersion !== 'TLSv1.2' && minVersion !== 'TLSv1.3')
    throw optionError('tls.minVersion', "must be 'TLSv1.2' or 'TLSv1.3'");
  return tls;
}

function checkAcme(acme: GatewayAcme | undefined): GatewayAcme | undefined {
  if (acme === undefined) return undefined;
  if (typeof acme !== 'object' || acme === null) throw optionError('acme', 'must be an object');
  const { names, folder, directory, email, acceptTerms, ...others } = acme;
  for (const name of Object.keys(others)) throw optionError(`acme.${name}`, 'unknown option');
  const isName = (name: unknown): boolean => typeof name === 'string' && /^[a-z0-9.-]{1,253}$/.test(name);
  if (!Array.isArray(names) || names.length === 0 || names.length > MAX_ACME_NAMES || !names.every(isName))
    throw optionError('acme.names', `must be 1 to ${MAX_ACME_NAMES} host names in lower case`);
  if (typeof folder !== 'string' || folder === '') throw optionError('acme.folder', 'must be a path');
  if (directory !== undefined && !URL.canParse(directory)) throw optionError('acme.directory', 'must be a URL');
  if (email !== undefined && typeof email !== 'string') throw optionError('acme.email', 'must be a text');
  if (acceptTerms !== true)
    throw optionError('acme.acceptTerms', 'must be true: read the terms of service of the authority');
  return acme;
}
