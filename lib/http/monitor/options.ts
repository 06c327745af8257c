// The options of the monitor, checked and completed.

import { isIPv6 } from 'node:net';
import { optionError, starlaneError } from '../../errors.js';
import { nodeDns } from '../../util/runtime/builtins.js';
import { isLoopbackName, randomToken } from './access.js';
import type { MonitorOptions } from './monitor.js';

export interface ResolvedOptions {
  /** As it was given, for the URL. */
  readonly host: string;
  /** Where to listen. */
  readonly address: string;
  readonly port: number;
  readonly token: string | undefined;
  readonly guestToken: string | undefined;
  readonly tls: { readonly cert: string | Buffer; readonly key: string | Buffer } | undefined;
  readonly hosts: readonly string[] | undefined;
  readonly maxReaders: number;
}

const DEFAULT_HOST = '127.0.0.1';
const DEFAULT_PORT = 8080;
const DEFAULT_READERS = 32;
const MAX_READERS = 1_024;
const MAX_ALLOWED_HOSTS = 64;
const TOKEN = /^[\x21-\x7e]{16,256}$/;
const NAMES = ['host', 'port', 'token', 'guestToken', 'tls', 'insecure', 'allowedHosts', 'maxReaders'];

/** @throws ERR_STARLANE_OPTION, ERR_STARLANE_INSECURE, or the error of node:dns for a host that is not known */
export async function resolveOptions(options: MonitorOptions): Promise<ResolvedOptions> {
  if (typeof options !== 'object' || options === null) throw optionError('options', 'must be an object');
  for (const name of Object.keys(options)) if (!NAMES.includes(name)) throw optionError(name, 'unknown option');
  const { host = DEFAULT_HOST, port = DEFAULT_PORT, token, insecure = false, maxReaders = DEFAULT_READERS } = options;
  if (typeof host !== 'string' || host === '') throw optionError('host', 'must be a host name or an address');
  checkWhole('port', port, 0, 65_535);
  checkWhole('maxReaders', maxReaders, 1, MAX_READERS);
  if (token !== undefined && token !== true && (typeof token !== 'string' || !TOKEN.test(token))) {
    throw optionError('token', 'must be true, or 16 to 256 characters without spaces');
  }
  const { guestToken } = options;
  if (guestToken !== undefined && (typeof guestToken !== 'string' || !TOKEN.test(guestToken) || guestToken === token)) {
    throw optionError('guestToken', 'must be another one than token, of 16 to 256 characters without spaces');
  }
  if (typeof insecure !== 'boolean') throw optionError('insecure', 'must be a boolean');
  const tls = checkTls(options.tls);
  const allowedHosts = checkHosts(options.allowedHosts);
  const { address } = await nodeDns().lookup(host.replace(/^\[|\]$/g, ''));
  const isLoopback = isLoopbackName(address);
  if (!isLoopback && tls === undefined && !insecure) {
    throw starlaneError('ERR_STARLANE_INSECURE', `the monitor at ${host} needs tls, or insecure: true`);
  }
  const needed = token ?? (isLoopback ? undefined : true);
  // Beyond loopback a foreign name is no danger: it gets no cookie.
  const hosts = isLoopback || allowedHosts !== undefined ? [host.toLowerCase(), ...(allowedHosts ?? [])] : undefined;
  return { host, address, port, token: needed === true ? randomToken() : needed, guestToken, tls, hosts, maxReaders };
}

/** Returns a host as URLs have it. */
export function urlHost(host: string): string {
  return isIPv6(host) ? `[${host}]` : host;
}

function checkWhole(name: string, value: unknown, min: number, max: number): void {
  if (!Number.isInteger(value) || (value as number) < min || (value as number) > max) {
    throw optionError(name, `must be a whole number from ${min} to ${max}`);
  }
}

function checkTls(tls: unknown): ResolvedOptions['tls'] {
  if (tls === undefined) return undefined;
  if (typeof tls !== 'object' || tls === null) throw optionError('tls', 'must be { cert, key }');
  for (const name of Object.keys(tls)) {
    if (name !== 'cert' && name !== 'key') throw optionError(`tls.${name}`, 'unknown option');
  }
  const { cert, key } = tls as { cert?: unknown; key?: unknown };
  for (const [name, value] of [
    ['cert', cert],
    ['key', key],
  ] as const) {
    if ((typeof value !== 'string' && !Buffer.isBuffer(value)) || value.length === 0) {
      throw optionError(`tls.${name}`, 'must be a string or Buffer of PEM');
    }
  }
  return { cert: cert as string | Buffer, key: key as string | Buffer };
}

function checkHosts(hosts: unknown): string[] | undefined {
  if (hosts === undefined) return undefined;
  if (!Array.isArray(hosts) || hosts.length > MAX_ALLOWED_HOSTS) {
    throw optionError('allowedHosts', `must be a list of at most ${MAX_ALLOWED_HOSTS} names`);
  }
  return hosts.map((name) => {
    if (typeof name !== 'string' || !/^[^\s:/@]+$/.test(name)) {
      throw optionError('allowedHosts', 'must be names without a port');
    }
    return name.toLowerCase();
  });
}
