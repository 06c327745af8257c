// The resolver of Node. Names of hosts are asked for in DNS itself, which says how long an answer holds; where DNS has none, as for names of
// /etc/hosts and for short names that the search list of the machine completes, the machine is asked as for any other connection.

import { codeOf } from '../../errors.js';
import { nodeDns } from '../../util/runtime/builtins.js';
import type { AddressRecord, NameResolver, SrvRecord } from './seed-records.js';

/** The wait for one answer of a server, in ms, and how often each is asked. */
const TIMEOUT_MS = 2_000;
const TRIES = 2;

/** Node's Resolver, and its lookup. */
interface Queries {
  resolve4(host: string, options: { ttl: true }): Promise<AddressRecord[]>;
  resolve6(host: string, options: { ttl: true }): Promise<AddressRecord[]>;
  resolveSrv(name: string): Promise<SrvRecord[]>;
  lookup(host: string, options: { all: true }): Promise<AddressRecord[]>;
}

/** Returns a resolver with the servers that the machine has now. */
export function nodeResolver(): NameResolver {
  const dns = nodeDns();
  const resolver = new dns.Resolver({ timeout: TIMEOUT_MS, tries: TRIES });
  return resolverOf({
    resolve4: (host, options) => resolver.resolve4(host, options),
    resolve6: (host, options) => resolver.resolve6(host, options),
    resolveSrv: (name) => resolver.resolveSrv(name),
    lookup: (host, options) => dns.lookup(host, options),
  });
}

/** Returns a resolver that asks by these functions. */
export function resolverOf(queries: Queries): NameResolver {
  return {
    async addresses(host) {
      const answers = await Promise.allSettled([
        queries.resolve4(host, { ttl: true }),
        queries.resolve6(host, { ttl: true }),
      ]);
      const found = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
      if (found.length > 0) return found;
      try {
        return (await queries.lookup(host, { all: true })).map(({ address }) => ({ address }));
      } catch (error) {
        // Whether the servers do not answer or do not know the name: DNS says that better than the lookup.
        const reasons = answers.flatMap((answer) => (answer.status === 'rejected' ? [answer.reason] : []));
        throw reasons.find((reason) => codeOf(reason) !== 'ENODATA') ?? reasons[0] ?? error;
      }
    },
    services: (name) => queries.resolveSrv(name),
  };
}
