import { describe, expect, it } from '@jest/globals';
import {
  afterFinSent,
  afterFlags,
  INCOMING_STATE,
  INVALID_STATE,
  mayReceive,
  mayWrite,
  OPENED_STATE,
  StreamState,
} from '../../../lib/mux/stream/stream-state.js';

/** The same state as separate fields: slow, but easy to verify. */
interface Life {
  synOwed: boolean;
  unacked: boolean;
  unaccepted: boolean;
  ackOwed: boolean;
  writing: 'open' | 'ending' | 'ended';
  reading: 'open' | 'ended';
  abandoned: boolean;
  closed: boolean;
  held: boolean;
}

const ALL_STATES = 0x400;
const ALL_FLAGS = 0x10;
const SYN = 1;
const ACK = 2;
const FIN = 4;
const RST = 8;

function lifeOf(state: number): Life {
  const has = (bit: number) => (state & bit) !== 0;
  return {
    synOwed: has(0x01),
    unacked: has(0x02),
    unaccepted: has(0x04),
    ackOwed: has(0x08),
    writing: has(0x20) ? 'ended' : has(0x10) ? 'ending' : 'open',
    reading: has(0x40) ? 'ended' : 'open',
    abandoned: has(0x80),
    closed: has(0x100),
    held: has(0x200),
  };
}

/** Every state in which the FIN bits agree: one that was sent was also ended. */
function consistentStates(): number[] {
  const states: number[] = [];
  for (let state = 0; state < ALL_STATES; state++) {
    if ((state & 0x30) !== 0x20) states.push(state);
  }
  return states;
}

function modelAfterFlags(life: Life, flags: number): Life | 'invalid' {
  if (life.closed) return 'invalid';
  if (flags & RST) return { ...life, closed: true };
  const next: Life = { ...life, unacked: false };
  if (flags & FIN) {
    if (life.reading === 'ended') return 'invalid';
    next.reading = 'ended';
  }
  if (next.reading === 'ended' && next.writing === 'ended') next.closed = true;
  return next;
}

describe('The state of a stream', () => {
  it('has the bits that the model reads', () => {
    expect(StreamState).toEqual({
      SYN_OWED: 0x01,
      UNACKED: 0x02,
      UNACCEPTED: 0x04,
      ACK_OWED: 0x08,
      WRITE_ENDED: 0x10,
      FIN_SENT: 0x20,
      READ_ENDED: 0x40,
      ABANDONED: 0x80,
      CLOSED: 0x100,
      HELD: 0x200,
      RELAYED: 0x400,
    });
    expect(lifeOf(OPENED_STATE)).toMatchObject({ synOwed: true, unacked: true, writing: 'open', reading: 'open' });
    expect(lifeOf(INCOMING_STATE)).toMatchObject({ unaccepted: true, unacked: false, closed: false });
  });

  it('changes with the flags of the peer as the model does, from every state with all flags', () => {
    for (const state of consistentStates()) {
      const flags = Array.from({ length: ALL_FLAGS }, (_, bits) => bits);
      const next = flags.map((bits) => afterFlags(state, bits));
      expect(next.map((bits) => (bits === INVALID_STATE ? 'invalid' : lifeOf(bits)))).toEqual(
        flags.map((bits) => modelAfterFlags(lifeOf(state), bits)),
      );
    }
  });

  it('does not depend on SYN, nor on ACK beyond what any answer does', () => {
    for (const state of consistentStates()) {
      const flags = Array.from({ length: ALL_FLAGS }, (_, bits) => bits);
      expect(flags.map((bits) => afterFlags(state, bits))).toEqual(
        flags.map((bits) => afterFlags(state, bits & ~(SYN | ACK))),
      );
    }
  });

  it('changes with the FIN of this side as the model does, from every state', () => {
    for (const state of consistentStates()) {
      const life = lifeOf(state);
      const next = lifeOf(afterFinSent(state));
      expect(next).toEqual({ ...life, writing: 'ended', closed: life.closed || life.reading === 'ended' });
    }
  });

  it('allows data while the half in question is open, and never on a closed stream', () => {
    for (const state of consistentStates()) {
      const life = lifeOf(state);
      expect(mayReceive(state)).toBe(!life.closed && life.reading === 'open');
      expect(mayWrite(state)).toBe(!life.closed && life.writing === 'open');
    }
  });

  it('never leaves the closed state, and is closed by both ends in either order', () => {
    for (let flags = 0; flags < ALL_FLAGS; flags++) {
      expect(afterFlags(StreamState.CLOSED, flags)).toBe(INVALID_STATE);
    }
    const readFirst = afterFinSent(afterFlags(OPENED_STATE, FIN));
    const writtenFirst = afterFlags(afterFinSent(OPENED_STATE), FIN);
    expect(readFirst).toBe(writtenFirst);
    expect(lifeOf(readFirst).closed).toBe(true);
    expect(lifeOf(afterFlags(OPENED_STATE, FIN)).closed).toBe(false);
  });
});
