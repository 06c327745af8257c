import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { type Holder, PoolShare, RelayPool } from '../../../lib/circuit/relay/pool.js';

const PLENTY = 1_000_000;
const REASON = 7;

interface Shared {
  readonly share: PoolShare;
}

/** A circuit that releases everything when it is evicted. */
class Circuit implements Holder {
  held = 0;
  next: Holder | null = null;
  previous: Holder | null = null;
  evictions = 0;

  constructor(
    private readonly pool: RelayPool,
    readonly from: Shared,
    readonly to: Shared | null,
    readonly source: Shared,
  ) {
    pool.add(this);
  }

  reset(reason: number): void {
    expect(reason).toBe(REASON);
    this.evictions++;
    // It comes back, as another one with nothing.
    this.pool.remove(this);
    this.pool.add(this);
  }
}

function share(bytes: number): Shared {
  return { share: new PoolShare(bytes) };
}

describe('The pool of a relay', () => {
  it('counts what is held for all, both links and the source', () => {
    const pool = new RelayPool(PLENTY, REASON);
    const [from, to, source] = [share(PLENTY), share(PLENTY), share(PLENTY)];
    const circuit = new Circuit(pool, from, to, source);
    const counts = (): number[] => [pool.all, from.share, to.share, source.share, circuit].map(({ held }) => held);
    pool.hold(circuit, 100);
    pool.hold(circuit, 50);
    expect(counts()).toEqual([150, 150, 150, 150, 150]);
    pool.release(circuit, 120);
    expect(counts()).toEqual([30, 30, 30, 30, 30]);
    expect(pool.waitingCount).toBe(1);
    // Never less than nothing.
    pool.release(circuit, 120);
    expect(counts()).toEqual([0, 0, 0, 0, 0]);
    expect([pool.waitingCount, pool.size]).toEqual([0, 1]);
    expect(pool.any).toBe(circuit);
    pool.remove(circuit);
    expect(pool.any).toBeNull();
  });

  it.each(['all', 'from', 'to', 'source'])('lets windows grow up to three quarters of %s', (which) => {
    const pool = new RelayPool(which === 'all' ? 1000 : PLENTY, REASON);
    const shares = { from: share(PLENTY), to: share(PLENTY), source: share(PLENTY), [which]: share(1000) };
    const circuit = new Circuit(pool, shares.from, shares.to, shares.source);
    pool.hold(circuit, 750);
    expect(pool.mayGrow(circuit)).toBe(true);
    pool.hold(circuit, 1);
    expect(pool.mayGrow(circuit)).toBe(false);
    expect(circuit.evictions).toBe(0);
    pool.release(circuit, 1);
    expect(pool.mayGrow(circuit)).toBe(true);
  });

  it('evicts the circuit that holds most when too much is held, and only it', () => {
    const pool = new RelayPool(1000, REASON);
    const circuits = Array.from({ length: 4 }, () => new Circuit(pool, share(PLENTY), share(PLENTY), share(PLENTY)));
    for (const [index, bytes] of [200, 400, 300, 50].entries()) pool.hold(circuits[index], bytes);
    expect(circuits.map(({ evictions }) => evictions)).toEqual([0, 0, 0, 0]);
    pool.hold(circuits[3], 1);
    expect(circuits.map(({ evictions }) => evictions)).toEqual([0, 1, 0, 0]);
    expect(pool.all.held).toBe(551);
  });

  it('evicts among the circuits of the link or source that holds too much', () => {
    const pool = new RelayPool(PLENTY, REASON);
    const [crowded, source] = [share(1000), share(500)];
    const other = new Circuit(pool, share(PLENTY), share(PLENTY), share(PLENTY));
    const near = new Circuit(pool, crowded, share(PLENTY), share(PLENTY));
    const far = new Circuit(pool, share(PLENTY), crowded, share(PLENTY));
    const sent = [1, 2].map(() => new Circuit(pool, share(PLENTY), share(PLENTY), source));
    pool.hold(other, 5000);
    pool.hold(near, 400);
    pool.hold(far, 551);
    expect([other, near, far].map(({ evictions }) => evictions)).toEqual([0, 0, 1]);
    pool.hold(sent[0], 300);
    pool.hold(sent[1], 176);
    expect(sent.map(({ evictions }) => evictions)).toEqual([1, 0]);
  });

  it('evicts among those that have made no progress for longest', () => {
    const pool = new RelayPool(1_000_000, REASON);
    const make = (): Circuit => new Circuit(pool, share(PLENTY), share(PLENTY), share(PLENTY));
    const busy = make();
    pool.hold(busy, 90_000);
    const stuck = Array.from({ length: 1100 }, make);
    for (const circuit of stuck) pool.hold(circuit, 700);
    // It holds most, but it moves.
    pool.release(busy, 1);
    pool.hold(stuck[7], 100_000);
    expect(busy.evictions).toBe(0);
    expect(stuck[7].evictions).toBe(1);
  });

  it('evicts the one that brings too much if there is no other', () => {
    const pool = new RelayPool(PLENTY, REASON);
    const circuit = new Circuit(pool, share(1000), null, share(PLENTY));
    pool.hold(circuit, 951);
    expect([circuit.evictions, circuit.held, pool.all.held]).toEqual([1, 0, 0]);
  });

  it('never holds more than its limits, and counts right, whatever comes', () => {
    const step = fc.record({ which: fc.nat(9), bytes: fc.integer({ min: 1, max: 300 }), isRelease: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const pool = new RelayPool(2000, REASON);
        const links = [share(900), share(900), share(900)];
        const sources = [share(700), share(700), share(700), share(700)];
        const circuits = Array.from(
          { length: 10 },
          (_, index) => new Circuit(pool, links[index % 3], links[(index + 1) % 3], sources[index % 4]),
        );
        for (const { which, bytes, isRelease } of steps) {
          if (isRelease) pool.release(circuits[which], bytes);
          else pool.hold(circuits[which], bytes);
          const sum = (among: readonly Circuit[]): number => among.reduce((total, { held }) => total + held, 0);
          expect(pool.all.held).toBe(sum(circuits));
          expect(pool.all.isFull).toBe(false);
          expect(pool.waitingCount).toBe(circuits.filter(({ held }) => held > 0).length);
          expect(pool.size).toBe(circuits.length);
          for (const link of links) {
            expect(link.share.held).toBe(sum(circuits.filter(({ from, to }) => from === link || to === link)));
          }
          for (const source of sources) {
            expect(source.share.held).toBe(sum(circuits.filter((circuit) => circuit.source === source)));
          }
          const { from, to, source } = circuits[which];
          for (const part of [from, to as Shared, source]) expect(part.share.isFull).toBe(false);
        }
      }),
    );
  });
});
