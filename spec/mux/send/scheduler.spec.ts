import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  NO_TURN,
  type Schedulable,
  Scheduler,
  SHARED_QUANTUM_BYTES,
  SOLE_QUANTUM_BYTES,
} from '../../../lib/mux/send/scheduler.js';

class Member implements Schedulable {
  nextScheduled: Schedulable | null = null;
  lastTurn = NO_TURN;

  constructor(readonly name: string) {}
}

function names(scheduler: Scheduler<Member>, limit = Number.POSITIVE_INFINITY): string[] {
  const order: string[] = [];
  while (order.length < limit) {
    const member = scheduler.next();
    if (member === null) break;
    order.push(member.name);
  }
  return order;
}

describe('Scheduler', () => {
  it('has no member at first', () => {
    const scheduler = new Scheduler<Member>();
    expect(scheduler.isEmpty).toBe(true);
    expect(scheduler.next()).toBeNull();
  });

  it('serves each member once, in the order of arrival', () => {
    const scheduler = new Scheduler<Member>();
    for (const name of ['a', 'b', 'c']) scheduler.add(new Member(name));
    expect(names(scheduler)).toEqual(['a', 'b', 'c']);
    expect(scheduler.isEmpty).toBe(true);
  });

  it('queues a member once, however often it is added', () => {
    const scheduler = new Scheduler<Member>();
    const member = new Member('a');
    scheduler.add(member);
    scheduler.add(member);
    expect(names(scheduler)).toEqual(['a']);
    scheduler.requeue(member);
    scheduler.add(member);
    expect(names(scheduler)).toEqual(['a']);
  });

  it('serves members with more to send in turn', () => {
    const scheduler = new Scheduler<Member>();
    for (const name of ['a', 'b', 'c']) scheduler.add(new Member(name));
    const order: string[] = [];
    for (let turn = 0; turn < 9; turn++) {
      const member = scheduler.next() as Member;
      order.push(member.name);
      scheduler.requeue(member);
    }
    expect(order.join('')).toBe('abcabcabc');
  });

  it('serves a quiet member before members that were served recently', () => {
    const scheduler = new Scheduler<Member>();
    for (const name of ['a', 'b']) scheduler.add(new Member(name));
    for (let turn = 0; turn < 2; turn++) scheduler.requeue(scheduler.next() as Member);
    scheduler.add(new Member('quiet'));
    expect(names(scheduler)).toEqual(['quiet', 'a', 'b']);
  });

  it('serves a member that sends little each time before members with much to send', () => {
    const scheduler = new Scheduler<Member>();
    const bulk = ['a', 'b', 'c'].map((name) => new Member(name));
    for (const member of bulk) scheduler.add(member);
    for (let turn = 0; turn < 3; turn++) scheduler.requeue(scheduler.next() as Member);
    const small = new Member('small');
    for (let turn = 0; turn < 20; turn++) {
      scheduler.add(small);
      expect(scheduler.next()).toBe(small);
      scheduler.spend(small, 64);
      const member = scheduler.next() as Member;
      scheduler.spend(member, SHARED_QUANTUM_BYTES);
      scheduler.requeue(member);
    }
    // It sends as much as the others, and waits as they do.
    scheduler.add(small);
    expect(scheduler.next()).toBe(small);
    scheduler.spend(small, SHARED_QUANTUM_BYTES);
    scheduler.add(small);
    expect(scheduler.next()).not.toBe(small);
  });

  it('serves members with much to send in time, even while many others send little all the time', () => {
    const scheduler = new Scheduler<Member>();
    const bulk = new Member('bulk');
    scheduler.add(bulk);
    scheduler.requeue(scheduler.next() as Member);
    for (let index = 0; index < 200; index++) scheduler.add(new Member(`small ${index}`));
    let served = 0;
    for (let turn = 0; turn < 2_000; turn++) {
      const member = scheduler.next() as Member;
      if (member === bulk) {
        served++;
        scheduler.spend(bulk, SHARED_QUANTUM_BYTES);
        scheduler.requeue(bulk);
      } else {
        scheduler.spend(member, 1_000);
        scheduler.add(member);
      }
    }
    expect(served).toBeGreaterThanOrEqual(30);
  });

  it('serves every member in bounded time, even if others empty and fill their queue each time', () => {
    const scheduler = new Scheduler<Member>();
    const bulk = new Member('bulk');
    scheduler.add(bulk);
    scheduler.requeue(scheduler.next() as Member);
    const others = Array.from({ length: 10 }, (_, index) => new Member(`refilling ${index}`));
    for (const member of others) scheduler.add(member);
    let served = 0;
    for (let turn = 0; turn < 200; turn++) {
      const member = scheduler.next() as Member;
      if (member === bulk) {
        served++;
        scheduler.requeue(bulk);
      } else {
        // Its queue was emptied, and its user has written more since.
        scheduler.add(member);
      }
    }
    expect(served).toBeGreaterThanOrEqual(10);
  });

  it('serves members with much to send even while new members keep coming', () => {
    const scheduler = new Scheduler<Member>();
    const bulk = new Member('bulk');
    scheduler.add(bulk);
    scheduler.requeue(scheduler.next() as Member);
    let served = 0;
    for (let turn = 0; turn < 2_000; turn++) {
      // One more than can be served: streams that open, send a little and end.
      scheduler.add(new Member(`new ${turn}`));
      if (scheduler.next() !== bulk) continue;
      served++;
      scheduler.requeue(bulk);
    }
    expect(served).toBeGreaterThanOrEqual(5);
  });

  it('allows small frames while others wait, and large ones otherwise', () => {
    const scheduler = new Scheduler<Member>();
    scheduler.add(new Member('a'));
    scheduler.add(new Member('b'));
    scheduler.next();
    expect(scheduler.quantumBytes).toBe(SHARED_QUANTUM_BYTES);
    scheduler.next();
    expect(scheduler.quantumBytes).toBe(SOLE_QUANTUM_BYTES);
    expect(SHARED_QUANTUM_BYTES).toBeGreaterThanOrEqual(16 * 1024);
    expect(SOLE_QUANTUM_BYTES).toBeLessThanOrEqual(64 * 1024);
  });

  it('loses and duplicates no member, whatever is added, served and requeued', () => {
    const step = fc.record({ kind: fc.constantFrom('add', 'serve', 'serve and requeue'), who: fc.nat(7) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const scheduler = new Scheduler<Member>();
        const members = Array.from({ length: 8 }, (_, index) => new Member(String(index)));
        const waiting = new Set<Member>();
        for (const { kind, who } of steps) {
          if (kind === 'add') {
            scheduler.add(members[who]);
            waiting.add(members[who]);
            continue;
          }
          const member = scheduler.next();
          expect(member === null).toBe(waiting.size === 0);
          if (member === null) continue;
          expect(waiting.delete(member)).toBe(true);
          if (kind === 'serve') continue;
          scheduler.requeue(member);
          waiting.add(member);
        }
        expect(new Set(names(scheduler))).toEqual(new Set([...waiting].map(({ name }) => name)));
        expect(scheduler.isEmpty).toBe(true);
      }),
    );
  });
});
