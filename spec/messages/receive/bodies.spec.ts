// The memory for contents that are on their way: who gets it, and who has to give it back.

import { EventEmitter } from 'node:events';
import { beforeEach, describe, expect, it } from '@jest/globals';
import { Bodies } from '../../../lib/messages/receive/bodies.js';
import { BodyBudget } from '../../../lib/messages/receive/body-budget.js';
import type { Incoming } from '../../../lib/messages/receive/incoming.js';
import { chunkHead } from '../../../lib/messages/wire/chunks.js';
import { OutcomeCode } from '../../../lib/messages/wire/frames.js';
import type { Socket } from '../../../lib/socket/socket.js';
import { Timers } from '../../../lib/util/timers.js';
import { FakeClock } from '../../support/fake-clock.js';

const MIB = 1024 * 1024;
/** Of one sender at a time; four of them hold everything. */
const MOST = 64 * MIB;

class FakeSocket extends EventEmitter {
  destroy(): void {}
  end(): void {}
  resume(): void {}
}

let clock: FakeClock;
let bodies: Bodies;
/** Senders that were asked, in order, and how contents that do not come have ended. */
let asked: string[];
let failed: Array<readonly [key: string, code: number]>;

beforeEach(() => {
  clock = new FakeClock();
  bodies = new Bodies(new Timers(clock), new BodyBudget());
  asked = [];
  failed = [];
});

function want(key: string, bytes = MOST, isStreamed = false): Incoming {
  const incoming = {
    owner: { isAbandoned: false, want: () => void asked.push(key) },
    sender: { key },
    apartBytes: bytes,
    remainingMs: Number.POSITIVE_INFINITY,
  } as unknown as Incoming;
  bodies.want(
    incoming,
    isStreamed,
    () => {},
    (code) => void failed.push([key, code]),
  );
  return incoming;
}

/** Begins the circuit of a content. Returns what lets so many bytes arrive. */
function begin(incoming: Incoming): (bytes: number) => void {
  const socket = new FakeSocket();
  expect(bodies.accept(incoming, socket as unknown as Socket, Buffer.alloc(0))).toBe(true);
  return (bytes) => {
    socket.emit('data', chunkHead(bytes));
    socket.emit('data', Buffer.alloc(bytes));
  };
}

describe('a content that holds memory', () => {
  it('is given up when it hardly moves while another sender waits for it', () => {
    const moving = begin(want('ada'));
    const trickling = begin(want('bob'));
    want('cyd');
    want('dan');
    want('eve');
    expect(asked).toEqual(['ada', 'bob', 'cyd', 'dan']);
    moving(3 * MIB);
    trickling(1);
    clock.advance(5_000);
    expect(failed).toEqual([['bob', OutcomeCode.CONTENT]]);
    expect(asked).toEqual(['ada', 'bob', 'cyd', 'dan', 'eve']);
  });

  it('has to go on moving', () => {
    const moving = begin(want('ada'));
    for (const key of ['bob', 'cyd', 'dan']) want(key);
    moving(30 * MIB);
    clock.advance(5_000);
    want('eve');
    clock.advance(5_000);
    expect(failed).toEqual([['ada', OutcomeCode.CONTENT]]);
  });

  it('has its time when nobody waits for its memory', () => {
    want('ada');
    clock.advance(59_000);
    expect(failed).toEqual([]);
    clock.advance(1_000);
    expect(failed).toEqual([['ada', OutcomeCode.LATE]]);
  });

  it('is not given up for a sender that waits for its own memory', () => {
    want('ada');
    want('ada');
    want('bob');
    want('bob');
    clock.advance(59_000);
    expect(failed).toEqual([]);
    expect(asked).toEqual(['ada', 'bob']);
  });

  it('is not one that is read as a stream', () => {
    want('ada', MOST, true);
    for (const key of ['bob', 'cyd', 'dan', 'eve']) want(key);
    const last = want('fay');
    clock.advance(5_000);
    expect(failed.map(([key]) => key)).toEqual(['bob']);
    expect(bodies.fail(last, OutcomeCode.CANCELLED)).toBe(true);
  });
});
