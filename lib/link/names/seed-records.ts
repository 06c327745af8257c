// What DNS has under the name of a seed. Pure but for its arguments, a resolver and randomness: node-resolver.ts has the real one.
//
//   dns:host:port    A and AAAA records                          one group, in any order
//   srv:name         SRV records (RFC 2782) -> A and AAAA        a group for each priority, weighted at random within

import { isIP } from 'node:net';
import { formatLinkAddress, parseLinkAddress, type SeedAddress } from '../../address.js';
import { starlaneError } from '../../errors.js';
import { shuffle } from '../../util/choice.js';

/** An address, and how long DNS says that it holds, in seconds; undefined where it does not come from DNS. */
export interface AddressRecord {
  readonly address: string;
  readonly ttl?: number | undefined;
}

export interface SrvRecord {
  readonly name: string;
  readonly port: number;
  readonly priority: number;
  readonly weight: number;
}

export interface NameResolver {
  /** Returns every address of a host. @throws as node:dns */
  addresses(host: string): Promise<readonly AddressRecord[]>;
  /** Returns the records of a service. @throws as node:dns */
  services(name: string): Promise<readonly SrvRecord[]>;
}

/** Where a name leads. */
export interface Resolution {
  /** Link addresses to try, in this order: those of a later group only where none of those before gives a link. */
  readonly groups: ReadonlyArray<readonly string[]>;
  /** How long the answer holds, in ms; undefined: ask again with the next check. */
  readonly ttlMs: number | undefined;
  /** The name that the certificate of each address may have, where an address stands for it. */
  readonly serverName?: string | undefined;
}

type NamedSeed = Exclude<SeedAddress, { kind: 'link' }>;

interface ResolveSetup {
  readonly resolver: NameResolver;
  /** Returns a number from 0 up to 1. */
  random(): number;
  /** Whether the host of an SRV record stays a name: its certificate names it, or a proxy resolves it. */
  keepsName(host: string, port: number): boolean;
}

/** How long an answer holds at least and at most, whatever DNS says, and where it says nothing, in ms. */
const MIN_TTL_MS = 5_000;
const MAX_TTL_MS = 60_000;
const USUAL_TTL_MS = 30_000;

/** The most addresses of one seed, and the most SRV records that are followed. */
export const MAX_SEED_ADDRESSES = 64;

/** @throws as node:dns, ERR_STARLANE_ADDRESS when DNS has nothing that can be dialled */
export async function resolveSeed(seed: NamedSeed, setup: ResolveSetup): Promise<Resolution> {
  if (seed.kind === 'srv') return resolveServices(seed, setup);
  const { scheme, host, port } = seed;
  const records = await setup.resolver.addresses(host);
  const hosts = records.map(({ address }) => address);
  const group = shuffle(linkAddresses(scheme, hosts, port), setup.random).slice(0, MAX_SEED_ADDRESSES);
  if (group.length === 0) throw starlaneError('ERR_STARLANE_ADDRESS', `${host} has no addresses`);
  return { groups: [group], ttlMs: ttlMsOf(records), serverName: host };
}

async function resolveServices(
  { scheme, name }: NamedSeed & { kind: 'srv' },
  setup: ResolveSetup,
): Promise<Resolution> {
  // A target of "." says that there is no such service (RFC 2782); Node gives it as an empty name.
  const records = (await setup.resolver.services(name)).filter(
    (record) => record.name !== '' && record.name !== '.' && record.port > 0,
  );
  const ranked = rankServices(records, setup.random, MAX_SEED_ADDRESSES);
  let ttlMs = USUAL_TTL_MS;
  let failure: unknown;
  const resolveTarget = async ({ name: target, port }: SrvRecord): Promise<string[]> => {
    if (isIP(target) !== 0 || setup.keepsName(target, port)) return linkAddresses(scheme, [target], port);
    try {
      const found = await setup.resolver.addresses(target);
      ttlMs = Math.min(ttlMs, ttlMsOf(found));
      return linkAddresses(
        scheme,
        found.map(({ address }) => address),
        port,
      );
    } catch (error) {
      // A pod that has just gone may still have a record; the others count.
      failure = error;
      return [];
    }
  };
  const groups = await Promise.all(ranked.map(async (group) => (await Promise.all(group.map(resolveTarget))).flat()));
  const known = new Set<string>();
  const bounded = groups
    .map((group) =>
      group.filter((address) => {
        if (known.has(address) || known.size >= MAX_SEED_ADDRESSES) return false;
        known.add(address);
        return true;
      }),
    )
    .filter((group) => group.length > 0);
  if (bounded.length > 0) return { groups: bounded, ttlMs };
  if (failure !== undefined) throw failure;
  throw starlaneError('ERR_STARLANE_ADDRESS', `${name} has no SRV record that leads anywhere`);
}

/** Returns records by priority, those of one priority at random by weight (RFC 2782, "Usage rules"), and no more than `max`. */
export function rankServices(records: readonly SrvRecord[], random: () => number, max: number): SrvRecord[][] {
  const priorities = [...new Set(records.map(({ priority }) => priority))].sort((one, other) => one - other);
  let left = max;
  const groups: SrvRecord[][] = [];
  for (const priority of priorities) {
    // Those without weight first, which gives them a small chance to be chosen.
    const open = records
      .filter((record) => record.priority === priority)
      .sort((one, other) => one.weight - other.weight);
    const group: SrvRecord[] = [];
    while (open.length > 0 && left > 0) {
      const total = open.reduce((sum, { weight }) => sum + weight, 0);
      const mark = Math.floor(random() * (total + 1));
      let sum = 0;
      const index = open.findIndex(({ weight }) => {
        sum += weight;
        return sum >= mark;
      });
      group.push(...open.splice(Math.max(index, 0), 1));
      left--;
    }
    if (group.length > 0) groups.push(group);
  }
  return groups;
}

/** DNS is not to be trusted: what is no host, or stands for every interface, is left out. */
function linkAddresses(scheme: 'tcp' | 'tls', hosts: readonly string[], port: number): string[] {
  const found = new Set<string>();
  for (const host of hosts) {
    try {
      const text = formatLinkAddress({ scheme, host: host.replace(/\.$/, ''), port });
      const where = parseLinkAddress(text, scheme);
      if (where.host !== undefined && where.host !== '0.0.0.0' && !/^[0:]+$/.test(where.host)) found.add(text);
    } catch {
      // Left out.
    }
  }
  return [...found];
}

function ttlMsOf(records: readonly AddressRecord[]): number {
  const shortest = Math.min(...records.map(({ ttl }) => (ttl === undefined ? USUAL_TTL_MS : ttl * 1_000)));
  return Math.min(MAX_TTL_MS, Math.max(MIN_TTL_MS, shortest));
}
