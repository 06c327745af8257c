import { describe, expect, it } from '@jest/globals';
import { RelayAdmission, RelayNeighbour, SeenCircuits } from '../../../lib/circuit/relay/admission.js';
import { DEFAULT_RELAY_LIMITS, type RelayLimits } from '../../../lib/circuit/relay/limits.js';
import { RelayPool } from '../../../lib/circuit/relay/pool.js';

let nextId = 0;

function circuitId(): Buffer {
  const id = Buffer.alloc(16);
  id.writeUInt32BE(++nextId, 12);
  return id;
}

function setup(changes: Partial<RelayLimits> = {}): {
  limits: RelayLimits;
  pool: RelayPool;
  admission: RelayAdmission;
  neighbour: () => RelayNeighbour;
} {
  const limits = { ...DEFAULT_RELAY_LIMITS, ...changes };
  const pool = new RelayPool(limits.poolBytes, 0);
  return {
    limits,
    pool,
    admission: new RelayAdmission(limits, pool),
    neighbour: () => new RelayNeighbour(limits, 0),
  };
}

/** What is refused, as text. */
function refusal(admission: object): string | undefined {
  return 'refused' in admission ? `${admission.refused}: ${(admission as { reason?: string }).reason}` : undefined;
}

describe('Admission', () => {
  it('limits the circuits of a neighbour, and admits another as soon as one has ended', () => {
    const { admission, neighbour } = setup({ maxCircuitsPerNeighbour: 3 });
    const [one, other] = [neighbour(), neighbour()];
    const admitted = ['S', 'T', 'U'].map((src) => admission.admit(one, src, circuitId(), 0));
    expect(admitted.map(refusal)).toEqual([undefined, undefined, undefined]);
    expect(refusal(admission.admit(one, 'V', circuitId(), 0))).toBe(
      'limit: 3 circuits of one neighbour (maxCircuitsPerNeighbour)',
    );
    expect(refusal(admission.admit(other, 'V', circuitId(), 0))).toBeUndefined();
    const [first] = admitted;
    if ('source' in first) admission.release(one, first.source);
    expect(refusal(admission.admit(one, 'V', circuitId(), 0))).toBeUndefined();
  });

  it('limits the circuits of a source by way of one neighbour, without those by way of another', () => {
    const { admission, neighbour } = setup({ maxCircuitsPerSource: 2 });
    const [liar, honest] = [neighbour(), neighbour()];
    const told = [1, 2, 3].map(() => refusal(admission.admit(liar, 'S', circuitId(), 0)));
    expect(told).toEqual([undefined, undefined, 'limit: 2 circuits of one source (maxCircuitsPerSource)']);
    expect(refusal(admission.admit(liar, 'T', circuitId(), 0))).toBeUndefined();
    expect(refusal(admission.admit(honest, 'S', circuitId(), 0))).toBeUndefined();
  });

  it('forgets sources whose circuits have ended', () => {
    const { admission, neighbour } = setup();
    const from = neighbour();
    const admitted = Array.from({ length: 100 }, (_, index) => admission.admit(from, `S${index}`, circuitId(), 0));
    expect(from.sources.size).toBe(100);
    for (const one of admitted) if ('source' in one) admission.release(from, one.source);
    expect(from.sources.size).toBe(0);
    expect(from.circuits).toBe(0);
  });

  it('limits the opens of a neighbour at once, and per second from then on', () => {
    const { admission, neighbour } = setup({ opensPerSecond: 100, openBurst: 20 });
    const from = neighbour();
    const take = (now: number): number => {
      let taken = 0;
      while (refusal(admission.admit(from, 'S', circuitId(), now)) === undefined) taken++;
      return taken;
    };
    expect(take(0)).toBe(20);
    expect(take(9)).toBe(0);
    expect(take(50)).toBe(5);
    expect(take(100_000)).toBe(20);
    expect(refusal(admission.admit(from, 'S', circuitId(), 100_000))).toBe(
      'limit: more than 100 opens a second (relayOpensPerSecond)',
    );
    // A clock that stands still, or goes back, gives nothing.
    expect(take(99_000)).toBe(0);
  });

  it('recognises a circuit that comes again, from any neighbour', () => {
    const { admission, neighbour } = setup();
    const id = circuitId();
    expect(refusal(admission.admit(neighbour(), 'S', id, 0))).toBeUndefined();
    expect(refusal(admission.admit(neighbour(), 'S', Buffer.from(id), 29_999))).toBe('loop: the circuit has been here');
    expect(refusal(admission.admit(neighbour(), 'S', id, 120_000))).toBeUndefined();
  });

  it('admits nothing while the pool, the link or the source holds too much', () => {
    const { admission, neighbour, pool } = setup({ poolBytes: 1000, poolBytesPerLink: 400, poolBytesPerSource: 200 });
    const [busy, idle] = [neighbour(), neighbour()];
    const admitted = admission.admit(busy, 'S', circuitId(), 0);
    if (!('source' in admitted)) throw new Error('not admitted');
    const { source } = admitted;
    const holder = { held: 0, next: null, previous: null, from: busy, to: null, source, reset: () => {} };
    pool.add(holder);
    pool.hold(holder, 151);
    expect(refusal(admission.admit(busy, 'S', circuitId(), 0))).toBe(
      'limit: the circuits of the source hold too much (relayPoolBytes)',
    );
    expect(refusal(admission.admit(idle, 'S', circuitId(), 0))).toBeUndefined();
    expect(refusal(admission.admit(busy, 'T', circuitId(), 0))).toBeUndefined();
    busy.share.held = 301;
    expect(refusal(admission.admit(busy, 'T', circuitId(), 0))).toBe(
      'limit: the circuits of the link hold too much (relayPoolBytes)',
    );
    expect(refusal(admission.admit(idle, 'T', circuitId(), 0))).toBeUndefined();
    pool.all.held = 751;
    expect(refusal(admission.admit(idle, 'U', circuitId(), 0))).toBe(
      'limit: the relay is short of memory (relayPoolBytes)',
    );
  });
});

describe('The memory of circuits', () => {
  it('keeps an id for at least the time, and at most twice that', () => {
    const seen = new SeenCircuits(30_000, 1000);
    const [first, second] = [circuitId(), circuitId()];
    expect(seen.isNew(first, 0)).toBe(true);
    expect(seen.isNew(second, 29_000)).toBe(true);
    expect(seen.isNew(first, 30_000)).toBe(false);
    expect(seen.isNew(second, 58_999)).toBe(false);
    expect(seen.isNew(first, 60_001)).toBe(true);
    expect(seen.isNew(second, 200_000)).toBe(true);
    expect(seen.size).toBe(1);
  });

  it('is bounded, and keeps the newest', () => {
    const seen = new SeenCircuits(30_000, 1000);
    const ids = Array.from({ length: 5_000 }, circuitId);
    for (const id of ids) {
      expect(seen.isNew(id, 0)).toBe(true);
      expect(seen.size).toBeLessThanOrEqual(1000);
    }
    for (const id of ids.slice(-500)) expect(seen.isNew(id, 1)).toBe(false);
  });
});
