// Sockets that are encrypted from end to end, through a relay, while both ends do anything in any order: what arrives is
// what was sent, and in the end nothing is left.

import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { Socket } from '../../lib/index.js';
import { pattern } from '../support/frames.js';
import { nothingLeft, watchHandles } from '../support/open-handles.js';
import { RelayNet } from '../support/relay-net.js';
import { turn, turnsUntil } from '../support/turns.js';

const MOST_BYTES = 600 * 1024;

type Side = 0 | 1;

interface Step {
  readonly kind: 'open' | 'write' | 'pause' | 'resume' | 'cork' | 'end' | 'destroy' | 'reset' | 'turn';
  readonly which: number;
  readonly side: Side;
  readonly bytes: number;
}

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom(
    ...(['open', 'open', 'write', 'write', 'write', 'write', 'pause', 'resume', 'cork'] as const),
    ...(['end', 'destroy', 'reset', 'turn', 'turn', 'turn'] as const),
  ),
  which: fc.nat(5),
  side: fc.constantFrom<Side>(0, 1),
  bytes: fc.oneof(fc.nat(40), fc.nat(5_000), fc.nat(200_000)),
});

/** One end, what it has written and what has arrived at it. */
class End {
  written = 0;
  arrived = 0;
  hasEnded = false;
  hasSeenEnd = false;
  /** What arrived differs from what was sent. */
  isWrong = false;
  error: NodeJS.ErrnoException | undefined;

  constructor(
    readonly socket: Socket,
    /** Distinguishes its bytes from those of others. */
    readonly seed: number,
    private readonly otherSeed: () => number,
  ) {
    socket.on('data', (chunk: Buffer) => {
      const end = this.arrived + chunk.length;
      this.isWrong ||= !chunk.equals(pattern(end, this.otherSeed()).subarray(this.arrived));
      this.arrived = end;
    });
    socket.on('end', () => {
      this.hasSeenEnd = true;
    });
    socket.on('error', (error) => {
      this.error = error;
    });
  }

  write(bytes: number): void {
    if (this.hasEnded || this.socket.destroyed) return;
    const end = Math.min(this.written + bytes, MOST_BYTES);
    const part = pattern(end, this.seed).subarray(this.written);
    this.written = end;
    this.socket.write(part);
  }

  end(): void {
    if (this.hasEnded || this.socket.destroyed) return;
    this.hasEnded = true;
    this.socket.end();
  }
}

let net: RelayNet;
let incoming: Socket[] = [];
let seeds = 0;

class Trial {
  readonly circuits: Array<{ ends: [End, End]; isBroken: boolean }> = [];

  async run({ kind, which, side, bytes }: Step): Promise<void> {
    if (kind === 'turn') return turn();
    if (kind === 'open') return this.open(bytes);
    const circuit = this.circuits[which % Math.max(1, this.circuits.length)];
    if (circuit === undefined || circuit.isBroken) return;
    const end = circuit.ends[side];
    const { socket } = end;
    switch (kind) {
      case 'write':
        end.write(bytes);
        return;
      case 'pause':
        socket.pause();
        return;
      case 'resume':
        socket.resume();
        return;
      case 'cork':
        socket.cork();
        for (let part = 0; part < 5; part++) end.write(Math.floor(bytes / 5));
        socket.uncork();
        return;
      case 'end':
        end.end();
        return;
      default:
        circuit.isBroken = true;
        if (kind === 'reset') socket.resetAndDestroy();
        else socket.destroy();
    }
  }

  /** All ends read, until nothing moves any more. */
  async settle(): Promise<void> {
    for (const { ends } of this.circuits) {
      for (const end of ends) {
        end.socket.resume();
        end.end();
      }
    }
    const isOver = ({ ends }: { ends: [End, End] }): boolean => ends.every(({ socket }) => socket.destroyed);
    await turnsUntil('all circuits have ended', () => this.circuits.every(isOver), 50_000);
    for (const { ends, isBroken } of this.circuits) {
      expect(ends.map(({ isWrong }) => isWrong)).toEqual([false, false]);
      if (isBroken) {
        for (const { error } of ends) expect([undefined, 'ECONNRESET', 'ERR_STREAM_DESTROYED']).toContain(error?.code);
        continue;
      }
      const [near, far] = ends;
      expect([near.error, far.error]).toEqual([undefined, undefined]);
      expect([near.arrived, far.arrived]).toEqual([far.written, near.written]);
      expect([near.hasSeenEnd, far.hasSeenEnd]).toEqual([true, true]);
    }
    await turnsUntil('the relay has nothing left', () => net.relay(1).counters.circuits === 0, 50_000);
    expect(net.relay(1).heldBytes).toBe(0);
    expect(net.last.stats().accepts.insecure).toBe(0);
  }

  private async open(early: number): Promise<void> {
    if (this.circuits.length === 6) return;
    const count = incoming.length;
    const socket = net.first.dial(`@${net.last.id}:7`, { secure: true, allowHalfOpen: true });
    const ends: End[] = [];
    ends.push(new End(socket, ++seeds, () => ends[1].seed));
    ends[0].write(early);
    await once(socket, 'connect');
    await turnsUntil('the server has it', () => incoming.length > count);
    ends.push(new End(incoming[count], ++seeds, () => ends[0].seed));
    this.circuits.push({ ends: ends as [End, End], isBroken: false });
  }
}

describe('Secure circuits', () => {
  beforeAll(async () => {
    watchHandles();
    net = await RelayNet.line(1);
    net.last.bind(':7', { allowHalfOpen: true }, (socket) => incoming.push(socket.pause()));
  });

  afterAll(async () => {
    await net.close();
    await nothingLeft();
  });

  it('deliver what was sent, end as they should, and leave nothing behind', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 50 }), async (steps) => {
        incoming = [];
        const trial = new Trial();
        for (const one of steps) await trial.run(one);
        await trial.settle();
      }),
      { numRuns: 60 },
    );
  }, 120_000);
});
