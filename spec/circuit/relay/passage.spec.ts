import { beforeEach, describe, expect, it } from '@jest/globals';
import { RelayNeighbour } from '../../../lib/circuit/relay/admission.js';
import { DEFAULT_RELAY_LIMITS } from '../../../lib/circuit/relay/limits.js';
import { Passage, type Sender } from '../../../lib/circuit/relay/passage.js';
import type { PendingRelay } from '../../../lib/circuit/relay/pending-relay.js';
import type { RelayRule } from '../../../lib/options/allow.js';
import { socketAddresses } from '../../../lib/socket/endpoints.js';
import { envDigests } from '../../../lib/wire/messages.js';
import type { Open } from '../../../lib/wire/open.js';
import { ReplyCode } from '../../../lib/wire/open-reply.js';
import { FakeClock } from '../../support/fake-clock.js';

const SOURCE = 'SAAAAAAAAAA';
const [PROD] = envDigests(['prod']);
const PROOF = Buffer.alloc(128);

let clock: FakeClock;
let checked: number;
let isForged: boolean;

beforeEach(() => {
  clock = new FakeClock();
  checked = 0;
  isForged = false;
});

function passage(rules: readonly RelayRule[], maxWaiting = 100): Passage {
  return new Passage({
    rules,
    env: [],
    clock,
    maxWaiting,
    certified: (nodeId) => (nodeId === SOURCE ? { name: 'ada', tags: ['ops'] } : { name: undefined, tags: [] }),
    verifySource: () => {
      checked++;
      if (isForged) throw new Error('forged');
    },
  });
}

/** By default that of a source whose circuit has passed a relay, without a proof. */
function open(changes: Partial<Open> = {}): Open {
  return {
    flags: 0,
    hopLimit: 16,
    dst: 'DAAAAAAAAAA',
    dstPort: 1007,
    src: SOURCE,
    srcPort: 50_000,
    circuitId: Buffer.alloc(16),
    visited: ['PAAAAAAAAAA'],
    service: 'web',
    env: PROD,
    remainingMs: 1000,
    relays: 1,
    proof: undefined,
    trace: undefined,
    rest: Buffer.alloc(0),
    ...changes,
  };
}

function sender(peerId: string, name?: string, envs: string[] = []): Sender {
  const remote = {
    localId: 'RAAAAAAAAAA',
    peerId,
    via: [],
    isVerified: true,
    addresses: socketAddresses('id'),
    name,
  };
  return { remote, envDigests: envs };
}

const RELAY = sender('PAAAAAAAAAA', 'relay of a PKI', [PROD]);

describe('relay rules', () => {
  it('let members renew their certificates and joiners reach the issuer, whatever they say', () => {
    const strict = passage([{ service: 'web', tag: 'nobody' }]);
    for (const dstPort of [1, 15]) expect(strict.ask(open({ service: '', dstPort }), RELAY)).toBe('yes');
    for (const [service, dstPort] of [
      ['', 0],
      ['', 16],
      ['db', 1],
    ] as const) {
      expect(strict.ask(open({ service, dstPort }), RELAY)).toBe('no');
    }
  });

  it.each<[RelayRule, unsigned: string, signed: string]>([
    [{}, 'yes', 'yes'],
    [{ service: 'web' }, 'yes', 'yes'],
    [{ service: ['db', 'w*'] }, 'yes', 'yes'],
    [{ service: 'db' }, 'no', 'no'],
    [{ service: '' }, 'no', 'no'],
    [{ id: SOURCE }, 'no', 'verify'],
    [{ id: 'PAAAAAAAAAA' }, 'no', 'no'],
    [{ name: 'a*' }, 'no', 'verify'],
    [{ name: 'relay*' }, 'no', 'no'],
    [{ tag: ['dev', 'ops'] }, 'no', 'verify'],
    [{ tag: 'dev' }, 'no', 'no'],
    [{ tag: '*' }, 'no', 'verify'],
    [{ env: 'prod' }, 'no', 'verify'],
    [{ env: 'test' }, 'no', 'no'],
    [{ tag: 'ops', service: 'web' }, 'no', 'verify'],
    [{ tag: 'ops', service: 'db' }, 'no', 'no'],
  ])('%j say of a circuit from further away: %s, with a proof: %s', (rule, unsigned, signed) => {
    expect(passage([rule]).ask(open(), RELAY)).toBe(unsigned);
    expect(passage([rule]).ask(open({ proof: PROOF }), RELAY)).toBe(signed);
    expect(checked).toBe(0);
  });

  it.each<[RelayRule, string]>([
    [{ id: SOURCE }, 'yes'],
    [{ id: 'PAAAAAAAAAA' }, 'no'],
    [{ name: 'of the link' }, 'yes'],
    [{ name: 'ada' }, 'no'],
    [{ tag: 'ops' }, 'no'],
    [{ env: 'prod' }, 'yes'],
    [{ service: 'db' }, 'no'],
  ])('%j say of a circuit of the neighbour itself, which its link verifies: %s', (rule, answer) => {
    const own = open({ relays: 0, visited: [], env: undefined });
    expect(passage([rule]).ask(own, sender(SOURCE, 'of the link', [PROD]))).toBe(answer);
  });

  it('see the certificate of a member as it is now', () => {
    const own = open({ relays: 0, visited: [] });
    let tags = ['dev'];
    const { remote, envDigests } = sender(SOURCE);
    const member = { remote: { ...remote, certified: () => ({ name: 'ada', tags }) }, envDigests };
    const rules = passage([{ tag: 'ops', name: 'ada' }]);
    expect(rules.ask(own, member)).toBe('no');
    tags = ['ops'];
    expect(rules.ask(own, member)).toBe('yes');
  });

  it.each<[RelayRule, string]>([
    [{ service: '' }, 'yes'],
    [{ service: '*' }, 'yes'],
    [{ service: 'web' }, 'no'],
    [{ service: '?*' }, 'no'],
  ])('%j say of a dial to a port: %s', (rule, answer) => {
    expect(passage([rule]).ask(open({ service: '', env: undefined }), RELAY)).toBe(answer);
  });

  it('deny everything where nothing is allowed, and need one that matches', () => {
    expect(passage([]).ask(open(), RELAY)).toBe('no');
    expect(passage([{ service: 'db' }, { id: SOURCE }]).ask(open({ proof: PROOF }), RELAY)).toBe('verify');
    expect(passage([{ service: 'web' }, { id: SOURCE }]).ask(open({ proof: PROOF }), RELAY)).toBe('yes');
  });
});

describe('the check of signatures', () => {
  class Pending {
    events: string[] = [];
    readonly open = open({ proof: PROOF });
    onGone = (): void => {};
    start(): void {
      this.events.push('start');
    }
    refuse(code: number, reason: string): void {
      this.events.push(`${code} ${reason}`);
    }
    wait(onGone: () => void): void {
      this.events.push('wait');
      this.onGone = onGone;
    }
    get asRelay(): PendingRelay {
      return this as unknown as PendingRelay;
    }
  }

  const neighbour = (): RelayNeighbour => new RelayNeighbour(DEFAULT_RELAY_LIMITS, 0);

  it('starts a circuit that its source has signed, and denies another', () => {
    const rules = passage([{ id: SOURCE }]);
    const [good, bad] = [new Pending(), new Pending()];
    expect(rules.verify(good.asRelay, neighbour())).toBe(true);
    isForged = true;
    expect(rules.verify(bad.asRelay, neighbour())).toBe(true);
    expect(good.events).toEqual(['start']);
    expect(bad.events).toEqual([`${ReplyCode.DENIED} no relay rule of the node allows it: forged`]);
  });

  it('is bounded in each turn for each neighbour, and so is the queue', () => {
    const rules = passage([{ id: SOURCE }], 5);
    const [from, other] = [neighbour(), neighbour()];
    const circuits = Array.from({ length: 9 }, () => new Pending());
    for (const circuit of circuits) expect(rules.verify(circuit.asRelay, from)).toBe(true);
    expect(checked).toBe(4);
    expect(rules.verify(new Pending().asRelay, from)).toBe(false);
    const elsewhere = new Pending();
    expect(rules.verify(elsewhere.asRelay, other)).toBe(true);
    expect(elsewhere.events).toEqual(['start']);
    circuits[8].onGone();
    clock.runImmediates();
    expect(checked).toBe(9);
    clock.runImmediates();
    clock.runImmediates();
    expect(circuits.map(({ events }) => events.join())).toEqual([
      ...Array(4).fill('start'),
      ...Array(4).fill('wait,start'),
      'wait',
    ]);
  });
});
