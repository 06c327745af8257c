// The sender's half of a session, with a receiver that gets what the spec lets it get.

import { describe, expect, it } from '@jest/globals';
import type { Outgoing } from '../../../lib/messages/send/outgoing.js';
import { OutgoingState } from '../../../lib/messages/send/outgoing.js';
import { SenderSession } from '../../../lib/messages/send/session.js';
import { FrameDecoder, FrameType, FrameWriter, readMessage, readNumber } from '../../../lib/messages/wire/frames.js';

function message(): Outgoing {
  const out = {
    state: OutgoingState.WAITING,
    number: 0,
    cost: 0,
    isQueued: false,
    command: undefined,
    key: undefined,
    content: { kind: 2, payload: 'x', bytes: 1, source: undefined },
    remainingMs: () => 1_000,
    get isSettled() {
      return (this.state as number) === OutgoingState.SETTLED;
    },
  };
  return out as unknown as Outgoing;
}

/** Returns what the session writes, as texts such as `MESSAGE 3`. */
function written(session: SenderSession): string[] {
  const writer = new FrameWriter();
  session.fill(writer, 0);
  const frames: string[] = [];
  const decoder = new FrameDecoder((type, bytes, from, to) => {
    if (type === FrameType.MESSAGE) frames.push(`MESSAGE ${readMessage(type, bytes, from, to).number}`);
    else frames.push(`${type === FrameType.SKIP ? 'SKIP' : type} ${readNumber(bytes, from, to)}`);
  });
  for (const piece of writer.take()) decoder.push(piece);
  return frames;
}

const WELCOME = { status: 0, next: 0, count: 100, bytes: 1_000 };

function giveUp(session: SenderSession, out: Outgoing): void {
  out.state = OutgoingState.SETTLED;
  session.giveUp(out);
}

describe('a session that is resumed', () => {
  it('skips a number once more when the circuit on which it was skipped was lost as well', () => {
    const session = new SenderSession();
    session.onWelcome(WELCOME);
    const [first, second] = [message(), message()];
    session.add(first);
    session.add(second);
    expect(written(session)).toEqual(['MESSAGE 0', 'MESSAGE 1']);
    giveUp(session, first);
    session.onWelcome(WELCOME);
    expect(written(session)).toEqual(['SKIP 0', 'MESSAGE 1']);
    session.onWelcome(WELCOME);
    expect(written(session)).toEqual(['SKIP 0', 'MESSAGE 1']);
    session.onWelcome({ ...WELCOME, next: 1 });
    expect(written(session)).toEqual(['MESSAGE 1']);
  });
});

describe('messages that wait', () => {
  it('leave in order, without those that were given up', () => {
    const session = new SenderSession();
    const all = Array.from({ length: 10 }, message);
    for (const out of all) session.add(out);
    for (const index of [0, 3, 4, 9]) giveUp(session, all[index]);
    expect(session.size).toBe(6);
    session.onWelcome({ ...WELCOME, count: 4 });
    expect(written(session)).toHaveLength(4);
    expect(session.waits).toBe(true);
    expect(session.takeWaiting()).toEqual([all[7], all[8]]);
    expect([all[1], all[2], all[5], all[6]].map(({ number }) => number)).toEqual([0, 1, 2, 3]);
  });

  it('are given up by the ten thousand without a pause', () => {
    const session = new SenderSession();
    const all = Array.from({ length: 50_000 }, message);
    for (const out of all) session.add(out);
    const began = performance.now();
    for (const out of all) giveUp(session, out);
    expect(session.size).toBe(0);
    expect(session.isIdle).toBe(true);
    // Out of the middle of an array, it took ten times as long as this.
    expect(performance.now() - began).toBeLessThan(2_000);
  });
});
