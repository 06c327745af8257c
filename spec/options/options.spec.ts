import { describe, expect, it } from '@jest/globals';
import { StarlaneError } from '../../lib/errors.js';
import { DEFAULT_LIMITS, type NodeOptions, resolveNodeOptions } from '../../lib/options/options.js';

function refusalOf(options: unknown): string {
  try {
    resolveNodeOptions(options as NodeOptions);
  } catch (error) {
    expect(error).toBeInstanceOf(StarlaneError);
    expect((error as StarlaneError).code).toBe('ERR_STARLANE_OPTION');
    return (error as StarlaneError).message;
  }
  return 'no error';
}

describe('resolveNodeOptions', () => {
  it('fills in every default', () => {
    expect(resolveNodeOptions()).toEqual({
      ...DEFAULT_LIMITS,
      env: [],
      role: 'peer',
      socketAddresses: 'id',
      relay: true,
      loopback: true,
      identity: undefined,
      tls: undefined,
      insecure: false,
      allow: undefined,
      queries: true,
      advertise: [],
      seeds: [],
    });
    expect(DEFAULT_LIMITS).toEqual({
      dialTimeoutMs: 10_000,
      handshakeTimeoutMs: 5_000,
      keepAliveMs: 5_000,
      keepAliveTimeoutMs: 15_000,
      closeTimeoutMs: 5_000,
      maxStreams: 4_194_304,
      maxLinks: 1024,
      maxPendingHandshakes: 128,
      maxServicesPerPeer: 32_768,
      maxNodes: 16_384,
      maxInstances: 500_000,
      maxCircuitsPerNeighbour: 65_536,
      maxCircuitsPerSource: 16_384,
      relayOpensPerSecond: 5_000,
      opensPerSecond: 100_000,
      maxPendingDecisions: 1024,
      relayPoolBytes: 268_435_456,
      acceptBacklog: 4096,
      receiveBudgetBytes: 268_435_456,
      maxWindowBytes: 16_777_216,
      recordQueueBytes: 67_108_864,
      rejoinMinMs: 500,
      rejoinMaxMs: 60_000,
    });
  });

  it('keeps what is given, and takes undefined for not given', () => {
    const tls = { cert: 'cert', key: Buffer.from('key'), ca: ['ca'] };
    const given = {
      role: 'router',
      loopback: false,
      insecure: true,
      tls,
      maxLinks: 7,
      dialTimeoutMs: undefined,
    } as const;
    const resolved = resolveNodeOptions(given);
    expect(resolved).toMatchObject({ role: 'router', loopback: false, insecure: true, tls, maxLinks: 7 });
    expect(resolved.dialTimeoutMs).toBe(10_000);
  });

  it('takes one env or several, in any order and with repetitions', () => {
    expect(resolveNodeOptions({ env: 'prod' }).env).toEqual(['prod']);
    expect(resolveNodeOptions({ env: ['b', 'a', 'b'] }).env).toEqual(['a', 'b']);
    expect(resolveNodeOptions({ env: [] }).env).toEqual([]);
  });

  it('relays for others unless it is a client, or relay is false', () => {
    expect(resolveNodeOptions({ role: 'server' }).relay).toBe(true);
    expect(resolveNodeOptions({ role: 'client' }).relay).toBe(false);
    expect(resolveNodeOptions({ relay: false }).relay).toBe(false);
  });

  it('relays by rules, of which it keeps a frozen copy, and not at all when there are none', () => {
    const tag = ['ops'];
    const { relay } = resolveNodeOptions({ relay: [{ tag, service: ['', 'web*'] }, { id: 'AAAAAAAAAAA' }] });
    tag.push('dev');
    expect(relay).toEqual([{ tag: ['ops'], service: ['', 'web*'] }, { id: 'AAAAAAAAAAA' }]);
    expect(Object.isFrozen(relay)).toBe(true);
    expect(resolveNodeOptions({ relay: [] }).relay).toBe(false);
    expect(resolveNodeOptions({ relay: [], role: 'client' }).relay).toBe(false);
  });

  it('gives a frozen result that does not share lists with the caller', () => {
    const seeds = ['tcp://127.0.0.1:1'];
    const resolved = resolveNodeOptions({ seeds, env: ['a'] });
    seeds.push('tcp://127.0.0.1:2');
    expect(resolved.seeds).toEqual(['tcp://127.0.0.1:1']);
    for (const part of [resolved, resolved.seeds, resolved.env]) expect(Object.isFrozen(part)).toBe(true);
  });

  it('takes its own result as options', () => {
    const resolved = resolveNodeOptions({ env: ['a', 'b'], seeds: [':1'], maxStreams: 5, relay: [{ tag: 'ops' }] });
    expect(resolveNodeOptions({ ...resolved })).toEqual(resolved);
  });

  it.each<[string, unknown]>([
    ['options is not an object', null],
    ['options is not an object', []],
    ['options is not an object', 'peer'],
    ['maxLink: unknown option', { maxLink: 5 }],
    ['constructor: unknown option', { constructor: 5 }],
    ['role: must be one of', { role: 'Peer' }],
    ['role: must be one of', { role: null }],
    ['loopback: must be true or false', { loopback: 1 }],
    ['relay: must be true, false, or a list of rules', { relay: 0 }],
    ['relay: must be true, false, or a list of rules', { relay: { tag: 'ops' } }],
    ['relay[0]: must be a rule such as { id, name, tag, env, service }', { relay: ['ops'] }],
    ['relay[1].direction: unknown field', { relay: [{}, { direction: 'dial' }] }],
    ['relay[0].tag: must be a tag', { relay: [{ tag: undefined }] }],
    ['relay[0].service: must be the name of a service', { relay: [{ service: 'web:80' }] }],
    ['relay: must be false for a client', { relay: true, role: 'client' }],
    ['relay: must be false for a client', { relay: [{}], role: 'client' }],
    ['identity: must be a private key', { identity: '' }],
    ['identity: must be a private key', { identity: Buffer.from('key') }],
    ['insecure: must be true or false', { insecure: 'yes' }],
    ['env: a name', { env: '' }],
    ['env: a name', { env: ['ok', 'not ok'] }],
    ['env: a name', { env: 5 }],
    ['env: at most 16', { env: Array.from({ length: 17 }, (_, index) => `env${index}`) }],
    ['secret: must be a string or Uint8Array', { secret: 5 }],
    ['secret: must have 1 to 1024 bytes, not 0', { secret: '' }],
    ['secret: must have 1 to 1024 bytes, not 0', { secret: new Uint8Array(0) }],
    ['secret: must have 1 to 1024 bytes, not 1026', { secret: 'ö'.repeat(513) }],
    ['tls: must be {', { tls: true }],
    ['tls.cert: must be a string', { tls: {} }],
    ['tls.key: must be a string', { tls: { cert: 'x', key: '' } }],
    ['tls.ca: must be a string', { tls: { cert: 'x', key: 'y', ca: [] } }],
    ['tls.pfx: unknown option', { tls: { cert: 'x', key: 'y', pfx: 'z' } }],
    ['seeds: must be a list', { seeds: 'tcp://a:1' }],
    ['advertise[0]: must be a link address', { advertise: 'nonsense' }],
    ['advertise: must be a list', { advertise: 7 }],
    ['advertise: tcp://a:0: the port', { advertise: ['tcp://a:0'] }],
    ['advertise: :1: must have a host', { advertise: ':1' }],
    ['advertise: tcp://0.0.0.0:1: must have a host', { advertise: 'tcp://0.0.0.0:1' }],
    ['advertise: at most 8', { advertise: Array.from({ length: 9 }, (_, n) => `a:${n + 1}`) }],
    ['seeds[1]: must be a link address', { seeds: ['tcp://a:1', 'a'] }],
    ['seeds[0]: must be a link address', { seeds: [7] }],
    ['keepAliveTimeoutMs: must be more', { keepAliveMs: 15_000 }],
    ['rejoinMaxMs: must not be less', { rejoinMaxMs: 100 }],
    ['maxWindowBytes: must be an integer', { maxWindowBytes: 65_536 }],
  ])('refuses with "%s": %j', (start, options) => {
    expect(refusalOf(options)).toContain(`unknown or invalid option: ${start}`);
  });

  it.each(Object.keys(DEFAULT_LIMITS))('refuses a %s that is not an integer in its range', (name) => {
    for (const value of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, '5', null, 5n, true]) {
      expect(refusalOf({ [name]: value })).toMatch(new RegExp(`: ${name}: must be an integer from \\d+ to \\d+$`));
    }
  });

  it('has the fault of a seed as cause', () => {
    expect.assertions(1);
    try {
      resolveNodeOptions({ seeds: ['http://a:1'] });
    } catch (error) {
      expect((error as StarlaneError).cause).toMatchObject({ code: 'ERR_STARLANE_ADDRESS' });
    }
  });
});
