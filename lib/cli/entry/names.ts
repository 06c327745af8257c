// Which service a host and a port mean, for programs that think in hosts: those behind a SOCKS or HTTP proxy.
//
//   web, web.starlane     the service web
//   db:5432               the service db at its virtual port 5432, or at every port where it is bound
//   web:80, web:443       the service web at any port, preferably at that one: URLs leave these out
//   kafka.eu              a service if there is one of that name, else a host beyond the network
//   10.0.0.7, ::1         a host beyond the network

import { isIP } from 'node:net';
import { isServiceName } from '../../address.js';
import { usage } from '../failure.js';

export const SUFFIX = 'starlane';
/** Ports that URLs leave out, as for lib/http/service-dialer.ts. */
const USUAL_PORTS: readonly number[] = [80, 443];

/** What a host and a port mean. */
export type Meaning =
  | {
      readonly kind: 'service';
      /** What `dial` takes. */
      readonly address: string;
      readonly preferredPort: number | undefined;
    }
  | { readonly kind: 'host'; readonly host: string; readonly port: number }
  /** Not under the suffix, and with a dot: known by the directory alone. */
  | { readonly kind: 'either'; readonly name: string; readonly port: number }
  | { readonly kind: 'nothing' };

/** Returns the meaning, without looking at the directory. @param suffix without a dot in front */
export function meaningOf(given: string, port: number, suffix: string): Meaning {
  const host = given.endsWith('.') ? given.slice(0, -1) : given;
  if (isIP(host) !== 0 || host.toLowerCase() === 'localhost') return { kind: 'host', host, port };
  const end = `.${suffix}`;
  // Host names are the same in any case; names of services are not.
  if (host.length > end.length && host.toLowerCase().endsWith(end.toLowerCase()))
    return serviceOf(host.slice(0, -end.length), port);
  if (!host.includes('.')) return serviceOf(host, port);
  return isServiceName(host) ? { kind: 'either', name: host, port } : { kind: 'nothing' };
}

/** Returns what to dial for a name and a port. */
export function serviceOf(name: string, port: number): Meaning {
  if (!isServiceName(name)) return { kind: 'nothing' };
  if (USUAL_PORTS.includes(port)) return { kind: 'service', address: name, preferredPort: port };
  return { kind: 'service', address: `${name}:${port}`, preferredPort: undefined };
}

/** Checks the value of `--suffix`. @throws Failure */
export function checkedSuffix(text: string): string {
  const suffix = text.startsWith('.') ? text.slice(1) : text;
  if (!/^[\w-]+(\.[\w-]+)*$/.test(suffix))
    throw usage(`--suffix: must be a domain such as starlane or mesh.internal, not ${JSON.stringify(text)}`);
  return suffix;
}
