// Circuits through a relay while their ends and the links do anything in any order.

import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { MuxStream } from '../../lib/mux/stream/stream.js';
import { encodeReply, tryReadReply } from '../../lib/wire/open-reply.js';
import { pattern } from '../support/frames.js';
import { type ManualNeighbour, type ManualStream, nodeIdOf, RelayFixture } from '../support/relay-fixture.js';
import { turn, turnsUntil } from '../support/turns.js';

const KIB = 1024;
const WINDOW = 64 * KIB;
const D = nodeIdOf('D');
/** Bytes that one end may write in all. */
const MOST_BYTES = 2 * KIB * KIB;

type Side = 0 | 1;

/** One circuit, and what its two ends have done. */
interface Circuit {
  readonly ends: [ManualStream, ManualStream];
  readonly written: [number, number];
  readonly hasEnded: [boolean, boolean];
  isReset: boolean;
  isOpen: boolean;
}

interface Step {
  readonly kind: 'open' | 'accept' | 'write' | 'pause' | 'resume' | 'end' | 'reset' | 'block' | 'unblock' | 'turn';
  readonly which: number;
  readonly side: Side;
  readonly bytes: number;
}

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom(
    ...(['open', 'accept', 'write', 'write', 'write', 'write', 'pause', 'resume'] as const),
    ...(['end', 'reset', 'block', 'unblock', 'turn', 'turn', 'turn'] as const),
  ),
  which: fc.nat(5),
  side: fc.constantFrom<Side>(0, 1),
  bytes: fc.oneof(fc.nat(40), fc.nat(5_000), fc.nat(150_000)),
});

class Trial {
  readonly relay = new RelayFixture({ nextHops: () => [D] });
  readonly neighbours: [ManualNeighbour, ManualNeighbour] = [this.relay.link('P'), this.relay.link('D')];
  readonly circuits: Circuit[] = [];

  async run({ kind, which, side, bytes }: Step): Promise<void> {
    if (kind === 'turn') return turn();
    if (kind === 'block' || kind === 'unblock') {
      const { duplex } = this.neighbours[side];
      if (kind === 'block') duplex.pause();
      else duplex.resume();
      return;
    }
    if (kind === 'open') {
      if (this.circuits.length < 6) await this.open(bytes);
      return;
    }
    const circuit = this.circuits[which % Math.max(1, this.circuits.length)];
    if (circuit === undefined || circuit.isReset) return;
    this.act(circuit, kind, side, bytes);
  }

  /** What has arrived is a beginning of what was sent, and no relay holds more than its windows. */
  check(): void {
    for (const circuit of this.circuits) {
      for (const side of [0, 1] as const) {
        const data = this.arrived(circuit, side);
        const sent = pattern(circuit.written[1 - side], this.seed(circuit, side === 0 ? 1 : 0));
        expect(sent.subarray(0, data.length).equals(data)).toBe(true);
      }
    }
    expect(this.relay.relay.heldBytes).toBeLessThanOrEqual(2 * WINDOW * this.circuits.length);
  }

  /** All ends read, until nothing moves any more. */
  async settle(): Promise<void> {
    for (const { duplex } of this.neighbours) duplex.resume();
    for (const circuit of this.circuits) {
      if (!circuit.isOpen && !circuit.isReset) this.act(circuit, 'accept', 0, 0);
      for (const end of circuit.ends) this.read(end);
    }
    const isAtRest = (circuit: Circuit): boolean =>
      circuit.isReset ||
      ([0, 1] as const).every((side) => this.arrived(circuit, side).length === circuit.written[1 - side]);
    await turnsUntil('all that was sent has arrived', () => this.circuits.every(isAtRest), 20_000);
    this.check();
    await turnsUntil('nothing is held', () => this.relay.relay.heldBytes === 0, 1000);
    for (const circuit of this.circuits) {
      // A circuit that was refused by a reset is answered, and ended gracefully.
      for (const side of [0, 1] as const) {
        if (circuit.isReset) circuit.ends[side].stream.reset();
        else this.act(circuit, 'end', side, 0);
      }
    }
    await turnsUntil('nothing is left', () => this.relay.isIdle && this.streams === 0, 20_000);
    for (const { ends, isReset } of this.circuits) {
      for (const end of ends) {
        if (isReset) continue;
        expect(end.events).toContain('end');
        expect(end.reasons).toEqual([]);
      }
    }
    for (const { session, relayEnd } of this.neighbours) {
      expect([session.unreadBytes, relayEnd.unreadBytes, relayEnd.budget.grownBytes]).toEqual([0, 0, 0]);
    }
    await this.relay.close();
  }

  private get streams(): number {
    return this.neighbours.reduce((sum, { session, relayEnd }) => sum + session.streamCount + relayEnd.streamCount, 0);
  }

  private async open(early: number): Promise<void> {
    const [near, far] = this.neighbours;
    far.duplex.resume();
    near.duplex.resume();
    const stream = near.open(D);
    const incoming = await far.arrived(this.circuits.length);
    const circuit: Circuit = {
      ends: [stream, incoming],
      written: [0, 0],
      hasEnded: [false, false],
      isReset: false,
      isOpen: false,
    };
    this.circuits.push(circuit);
    this.act(circuit, 'write', 0, early);
  }

  private act(circuit: Circuit, kind: Step['kind'], side: Side, bytes: number): void {
    const end = circuit.ends[side];
    switch (kind) {
      case 'accept':
        if (circuit.isOpen) return;
        circuit.isOpen = true;
        circuit.ends[1].stream.write(encodeReply({ code: 0, port: 1, at: D }));
        return;
      case 'write': {
        if (circuit.hasEnded[side] || (side === 1 && !circuit.isOpen)) return;
        const length = Math.min(bytes, MOST_BYTES - circuit.written[side]);
        const all = pattern(circuit.written[side] + length, this.seed(circuit, side));
        end.stream.write(all.subarray(circuit.written[side]));
        circuit.written[side] += length;
        return;
      }
      case 'pause':
        end.paused = true;
        return;
      case 'resume':
        this.read(end);
        return;
      case 'end':
        if (circuit.hasEnded[side] || (side === 1 && !circuit.isOpen)) return;
        circuit.hasEnded[side] = true;
        end.stream.end();
        return;
      case 'reset':
        circuit.isReset = true;
        end.stream.reset();
        return;
    }
  }

  private read(end: ManualStream): void {
    end.paused = false;
    const stream: MuxStream = end.stream;
    stream.consumed(stream.unreadBytes);
  }

  private arrived({ ends }: Circuit, side: Side): Buffer {
    return side === 0 && tryReadReply(ends[0].received) === undefined ? Buffer.alloc(0) : ends[side].data;
  }

  private seed(circuit: Circuit, side: Side): number {
    return 2 * this.circuits.indexOf(circuit) + side;
  }
}

describe('Circuits through a relay', () => {
  it('carry every byte in order, end as their ends do, and leave nothing behind', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 80, size: 'max' }), async (steps) => {
        const trial = new Trial();
        for (const one of steps) {
          await trial.run(one);
          trial.check();
        }
        await trial.settle();
      }),
      { numRuns: 60 },
    );
  });
});
