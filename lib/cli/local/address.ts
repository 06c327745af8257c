// Where a command listens on this machine: PORT, HOST:PORT, [IPv6]:PORT, or the path of a unix socket.

import { BlockList, isIP, isIPv6 } from 'node:net';
import { usage } from '../failure.js';

export type LocalAddress =
  | { readonly host: string; readonly port: number; readonly path?: undefined }
  | { readonly path: string; readonly host?: undefined; readonly port?: undefined };

const MAX_PORT = 65_535;
/** Every interface. */
export const ANY_HOST = '*';
const HOST = /^[\w.-]+$/;

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

/** Returns the port, undefined for anything else: each number has one spelling. */
export function portOf(text: string): number | undefined {
  if (!/^(0|[1-9]\d{0,4})$/.test(text)) return undefined;
  const port = Number(text);
  return port <= MAX_PORT ? port : undefined;
}

/** Returns the host without brackets; `*` and nothing stand for every interface, as for ssh. Undefined for what is none. */
export function hostOf(text: string): string | undefined {
  if (text === '' || text === '*') return ANY_HOST;
  if (text.startsWith('[')) {
    const inner = text.slice(1, -1);
    return text.endsWith(']') && isIPv6(inner) ? inner : undefined;
  }
  return HOST.test(text) || isIPv6(text) ? text : undefined;
}

/** Splits `LOCAL:REST`. Undefined where there is no address of this machine in front. `bind` is the host where there is none. */
export function splitLocal(
  text: string,
  bind: string,
): { readonly at: LocalAddress; readonly rest: string } | undefined {
  const path = /^(?:unix:)?((?:\/|\.{1,2}\/|\\\\)[^:]+):(.+)$/s.exec(text);
  if (path !== null) return { at: { path: path[1] }, rest: path[2] };
  const match = /^(?:(\[[^\]]*\]|[^:]*):)??(\d+):(.+)$/s.exec(text);
  if (match === null) return undefined;
  const host = match[1] === undefined ? bind : hostOf(match[1]);
  const port = portOf(match[2]);
  return host === undefined || port === undefined ? undefined : { at: { host, port }, rest: match[3] };
}

/** Checks the value of a flag such as `--bind`. @throws Failure */
export function checkedHost(text: string, where: string): string {
  const host = hostOf(text);
  if (host === undefined)
    throw usage(`${where}: must be the name or the address of an interface, not ${JSON.stringify(text)}`);
  return host;
}

/** Returns the address as people write it. */
export function shownAddress({ host, port, path }: LocalAddress): string {
  if (path !== undefined) return path;
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** Whether only this machine can get there. */
export function isLoopback({ host, path }: LocalAddress): boolean {
  if (path !== undefined || host === 'localhost') return true;
  return isLoopbackAddress(host);
}

/** Whether the text is an IP address of this machine alone. */
export function isLoopbackAddress(text: string): boolean {
  const family = isIP(text);
  return family !== 0 && LOOPBACK.check(text, family === 4 ? 'ipv4' : 'ipv6');
}
