import { describe, expect, it } from '@jest/globals';
import { parseSeedAddress, type SeedAddress } from '../../../lib/address.js';
import { resolverOf } from '../../../lib/link/names/node-resolver.js';
import {
  type AddressRecord,
  MAX_SEED_ADDRESSES,
  type NameResolver,
  type Resolution,
  rankServices,
  resolveSeed,
  type SrvRecord,
} from '../../../lib/link/names/seed-records.js';

/** A generator that is the same in each run (mulberry32). */
function random(seed = 1): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

class FakeDns implements NameResolver {
  readonly hosts = new Map<string, readonly AddressRecord[]>();
  records: SrvRecord[] = [];

  async addresses(host: string): Promise<readonly AddressRecord[]> {
    const found = this.hosts.get(host);
    if (found === undefined) throw Object.assign(new Error(`queryA ENOTFOUND ${host}`), { code: 'ENOTFOUND' });
    return found;
  }

  async services(): Promise<readonly SrvRecord[]> {
    return this.records;
  }

  resolve(text: string, keepsName = false): Promise<Resolution> {
    const seed = parseSeedAddress(text, 'tls') as Exclude<SeedAddress, { kind: 'link' }>;
    return resolveSeed(seed, { resolver: this, random: random(), keepsName: () => keepsName });
  }
}

function record(name: string, priority = 0, weight = 0, port = 7400): SrvRecord {
  return { name, port, priority, weight };
}

describe('dns:', () => {
  it('leads to every address of the host, as long as the shortest answer holds', async () => {
    const dns = new FakeDns();
    dns.hosts.set('seeds.test', [
      { address: '10.0.0.1', ttl: 20 },
      { address: '2001:db8::1', ttl: 10 },
      { address: '10.0.0.1', ttl: 20 },
    ]);
    const { groups, ttlMs, serverName } = await dns.resolve('dns:seeds.test:7400');
    expect(groups).toHaveLength(1);
    expect([...(groups[0] as string[])].sort()).toEqual(['tls://10.0.0.1:7400', 'tls://[2001:db8::1]:7400']);
    expect(ttlMs).toBe(10_000);
    expect(serverName).toBe('seeds.test');
  });

  it.each([
    [0, 5_000],
    [3, 5_000],
    [59, 59_000],
    [86_400, 60_000],
    [undefined, 30_000],
  ])('is asked for again after a time within bounds: TTL %p is %d ms', async (ttl, expected) => {
    const dns = new FakeDns();
    dns.hosts.set('seeds.test', [{ address: '10.0.0.1', ttl }]);
    expect((await dns.resolve('dns:tcp://seeds.test:1')).ttlMs).toBe(expected);
  });

  it('leads to 64 addresses at most, any of them, and not to every interface', async () => {
    const dns = new FakeDns();
    const many = Array.from({ length: 300 }, (_, index) => ({ address: `10.0.${index >> 8}.${index & 255}` }));
    dns.hosts.set('seeds.test', [{ address: '0.0.0.0' }, { address: '::' }, ...many]);
    const [group = []] = (await dns.resolve('dns:seeds.test:1')).groups;
    expect(group).toHaveLength(MAX_SEED_ADDRESSES);
    expect(group).not.toContain('tls://0.0.0.0:1');
    expect(group).not.toContain('tls://[::]:1');
    expect(group.some((address) => address.startsWith('tls://10.0.1.'))).toBe(true);
  });

  it('fails where there is nothing', async () => {
    const dns = new FakeDns();
    await expect(dns.resolve('dns:seeds.test:1')).rejects.toMatchObject({ code: 'ENOTFOUND' });
    dns.hosts.set('seeds.test', []);
    await expect(dns.resolve('dns:seeds.test:1')).rejects.toMatchObject({ code: 'ERR_STARLANE_ADDRESS' });
  });
});

describe('srv:', () => {
  it('leads to the addresses of each target, by priority', async () => {
    const dns = new FakeDns();
    dns.records = [record('b.test', 20), record('a.test', 10, 0, 7401), record('c.test', 20, 0, 7403)];
    dns.hosts.set('a.test', [{ address: '10.0.0.1' }, { address: '10.0.0.2', ttl: 7 }]);
    dns.hosts.set('b.test', [{ address: '10.0.0.3' }]);
    dns.hosts.set('c.test', [{ address: '10.0.0.3' }]);
    const { groups, ttlMs, serverName } = await dns.resolve('srv:_starlane._tcp.test');
    expect(groups.map((group) => [...group].sort())).toEqual([
      ['tls://10.0.0.1:7401', 'tls://10.0.0.2:7401'],
      ['tls://10.0.0.3:7400', 'tls://10.0.0.3:7403'],
    ]);
    expect(ttlMs).toBe(7_000);
    expect(serverName).toBeUndefined();
  });

  it('leaves names as they are where certificates or a proxy need them', async () => {
    const dns = new FakeDns();
    dns.records = [record('pod-0.seeds.test.'), record('pod-1.seeds.test')];
    const { groups } = await dns.resolve('srv:_starlane._tcp.test', true);
    expect(groups.flat().sort()).toEqual(['tls://pod-0.seeds.test:7400', 'tls://pod-1.seeds.test:7400']);
  });

  it('leaves out targets that have gone, that are no hosts, and those without a port', async () => {
    const dns = new FakeDns();
    dns.hosts.set('here.test', [{ address: '10.0.0.1' }]);
    dns.records = [
      record('gone.test'),
      record('here.test'),
      record('here.test', 0, 0, 0),
      record(''),
      record('.'),
      record('a b'),
    ];
    expect((await dns.resolve('srv:x.test')).groups).toEqual([['tls://10.0.0.1:7400']]);
    dns.records = [record('gone.test')];
    await expect(dns.resolve('srv:x.test')).rejects.toMatchObject({ code: 'ENOTFOUND' });
    dns.records = [record('.')];
    await expect(dns.resolve('srv:x.test')).rejects.toMatchObject({ code: 'ERR_STARLANE_ADDRESS' });
  });

  it('follows 64 records at most, and leads to 64 addresses at most', async () => {
    const dns = new FakeDns();
    dns.records = Array.from({ length: 200 }, (_, index) => record(`pod-${index}.test`, index % 2));
    let asked = 0;
    dns.addresses = async (host) => {
      asked++;
      return [{ address: `10.0.0.${host.length}` }, { address: `10.0.${asked}.1` }];
    };
    expect((await dns.resolve('srv:x.test')).groups.flat().length).toBeLessThanOrEqual(MAX_SEED_ADDRESSES);
    expect(asked).toBe(64);
  });

  it('prefers records of one priority by their weight', () => {
    const first = new Map<string, number>();
    const source = random(7);
    for (let run = 0; run < 2_000; run++) {
      const [group = []] = rankServices(
        [record('heavy', 1, 90), record('light', 1, 10), record('none', 1, 0)],
        source,
        64,
      );
      expect(group).toHaveLength(3);
      const name = group[0]?.name as string;
      first.set(name, (first.get(name) ?? 0) + 1);
    }
    expect(first.get('heavy')).toBeGreaterThan(1_650);
    expect(first.get('light')).toBeGreaterThan(120);
    expect(first.get('none') ?? 0).toBeLessThan(60);
  });
});

describe('the resolver', () => {
  const failure = (code: string): Promise<never> => Promise.reject(Object.assign(new Error(code), { code }));
  const silent = { resolveSrv: () => failure('ENOTFOUND'), lookup: () => failure('ENOTFOUND') };

  it('is content with one kind of address', async () => {
    const four = resolverOf({
      ...silent,
      resolve4: async () => [{ address: '10.0.0.1', ttl: 5 }],
      resolve6: () => failure('ESERVFAIL'),
    });
    expect(await four.addresses('x')).toEqual([{ address: '10.0.0.1', ttl: 5 }]);
    const six = resolverOf({
      ...silent,
      resolve4: () => failure('ENODATA'),
      resolve6: async () => [{ address: '::1', ttl: 5 }],
    });
    expect(await six.addresses('x')).toEqual([{ address: '::1', ttl: 5 }]);
  });

  it('asks the machine where DNS does not know a name, and says what DNS said if that fails as well', async () => {
    const queries = { ...silent, resolve4: () => failure('ENODATA'), resolve6: () => failure('ETIMEOUT') };
    const found = resolverOf({ ...queries, lookup: async () => [{ address: '10.0.0.1' }] });
    expect(await found.addresses('x')).toEqual([{ address: '10.0.0.1' }]);
    await expect(resolverOf(queries).addresses('x')).rejects.toMatchObject({ code: 'ETIMEOUT' });
  });
});
