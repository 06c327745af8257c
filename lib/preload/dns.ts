// Names of the overlay never go to the DNS: that would publish them, and an answer could lead programs to another host. A lookup returns
// the stand-in address of the service, and every other query fails with ENOTFOUND.

import { isIP } from 'node:net';
import { lookupError } from '../errors.js';
import { standInForService } from '../socket/endpoints.js';
import { invalidArgType } from '../util/runtime/node-errors.js';
import { nextTick } from '../util/runtime/real-timers.js';
import { overlayService } from './overlay-host.js';

// The module object itself: what `import` gives cannot be changed.
const dns = process.getBuiltinModule('node:dns');

const QUERIES =
  'resolve resolve4 resolve6 resolveAny resolveCaa resolveCname resolveMx resolveNaptr resolveNs resolvePtr resolveSoa ' +
  'resolveSrv resolveTlsa resolveTxt';

type Query = (...args: unknown[]) => unknown;

interface Found {
  readonly address: string;
  readonly family: number;
}

export function patchDns(): void {
  patch(dns, 'lookup', lookupWithCallback);
  patch(dns.promises, 'lookup', lookupWithPromise);
  for (const name of QUERIES.split(' ')) {
    const refuse = (...args: unknown[]): unknown => {
      const callback = args.at(-1);
      if (typeof callback === 'function')
        nextTick(callback as Query, lookupError(String(args[0]), name.replace('resolve', 'query')));
      return {};
    };
    const refusePromise = (host: unknown): Promise<never> =>
      Promise.reject(lookupError(String(host), name.replace('resolve', 'query')));
    for (const owner of [dns, dns.Resolver.prototype]) patch(owner, name, refuse);
    for (const owner of [dns.promises, dns.promises.Resolver.prototype]) patch(owner, name, refusePromise);
  }
}

function patch(owner: object, name: string, answer: Query): void {
  const query: Query | undefined = Reflect.get(owner, name);
  if (query === undefined) return;
  Reflect.set(owner, name, function (this: unknown, ...args: unknown[]): unknown {
    return overlayService(args[0]) === undefined ? query.apply(this, args) : answer(...args);
  });
}

/** lookup(host[, options], callback) */
function lookupWithCallback(host: unknown, ...rest: unknown[]): unknown {
  const callback = rest.at(-1);
  if (typeof callback !== 'function') throw invalidArgType('callback', 'of type function', callback);
  const found = find(host, rest[0]);
  if (found === undefined) nextTick(callback as Query, lookupError(String(host)));
  else if (isForAll(rest[0])) nextTick(callback as Query, null, [found]);
  else nextTick(callback as Query, null, found.address, found.family);
  return {};
}

async function lookupWithPromise(host: unknown, options: unknown): Promise<Found | Found[]> {
  const found = find(host, options);
  if (found === undefined) throw lookupError(String(host));
  return isForAll(options) ? [found] : found;
}

function find(host: unknown, options: unknown): Found | undefined {
  const address = addressOf(host as string);
  if (address === undefined) return undefined;
  const family = typeof options === 'object' && options !== null ? (options as { family?: unknown }).family : options;
  if (family === 6 || family === 'IPv6') return { address: `::ffff:${address}`, family: 6 };
  return { address, family: 4 };
}

/** Returns the stand-in address of a host; an address stays itself. */
function addressOf(host: string): string | undefined {
  return isIP(host) === 0 ? standInForService(overlayService(host) as string) : host.replace(/^::ffff:/i, '');
}

function isForAll(options: unknown): boolean {
  return (options as { all?: unknown } | null)?.all === true;
}
