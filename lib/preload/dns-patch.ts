// Names of the overlay are never asked for in the DNS: that would tell them to strangers, and the answer of one could lead
// there. Every lookup of theirs is ENOTFOUND.

import { createRequire } from 'node:module';
import { overlayService } from './overlay-host.js';

// The module object itself: what `import` gives cannot be changed.
const dns = createRequire(import.meta.url)('node:dns') as typeof import('node:dns');

const QUERIES =
  'lookup resolve resolve4 resolve6 resolveAny resolveCaa resolveCname resolveMx resolveNaptr resolveNs resolvePtr ' +
  'resolveSoa resolveSrv resolveTlsa resolveTxt';

type Query = (...args: unknown[]) => unknown;

export function patchDns(): void {
  for (const name of QUERIES.split(' ')) {
    for (const owner of [dns, dns.Resolver.prototype]) patch(owner, name, refuseWithCallback);
    for (const owner of [dns.promises, dns.promises.Resolver.prototype]) patch(owner, name, refuseWithPromise);
  }
}

function patch(owner: object, name: string, refuse: (error: Error, args: readonly unknown[]) => unknown): void {
  const query: Query | undefined = Reflect.get(owner, name);
  if (query === undefined) return;
  Reflect.set(owner, name, function (this: unknown, ...args: unknown[]): unknown {
    if (overlayService(args[0]) === undefined) return query.apply(this, args);
    return refuse(notFound(name, args[0] as string), args);
  });
}

function refuseWithCallback(error: Error, args: readonly unknown[]): unknown {
  const callback = args.at(-1);
  if (typeof callback === 'function') process.nextTick(callback as Query, error);
  return {};
}

function refuseWithPromise(error: Error): Promise<never> {
  return Promise.reject(error);
}

/** As Node words it. */
function notFound(name: string, hostname: string): Error {
  const syscall = name === 'lookup' ? 'getaddrinfo' : name.replace('resolve', 'query');
  return Object.assign(new Error(`${syscall} ENOTFOUND ${hostname}`), { code: 'ENOTFOUND', syscall, hostname });
}
