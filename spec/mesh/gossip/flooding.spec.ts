import { describe, expect, it } from '@jest/globals';
import { CopyQueue } from '../../../lib/mesh/admission/intake.js';
import { Outbox } from '../../../lib/mesh/gossip/flooding.js';
import { recordCopyBytes } from '../../../lib/wire/gossip-messages.js';
import type { MeshRecord } from '../../../lib/wire/records.js';
import { nodeOf } from '../signed-records.js';

function drained(outbox: Outbox, limit = Number.POSITIVE_INFINITY): MeshRecord[] {
  const records: MeshRecord[] = [];
  outbox.drain(
    () => records.length < limit,
    (record) => records.push(record),
  );
  return records;
}

describe('an outbox', () => {
  it('holds the newest version of each key, in the place of the first', () => {
    const outbox = new Outbox();
    const [a1, a2, b, c] = [nodeOf('a'), nodeOf('a', { seq: 2, peers: ['x'] }), nodeOf('b'), nodeOf('c')];
    for (const record of [a1, b, a2, c]) outbox.put(record, false);
    expect(outbox.size).toBe(3);
    expect(outbox.bytes).toBe(recordCopyBytes(a2) + recordCopyBytes(b) + recordCopyBytes(c));
    expect(drained(outbox, 2)).toEqual([a2, b]);
    expect(outbox.size).toBe(1);
    expect(drained(outbox)).toEqual([c]);
    expect([outbox.size, outbox.bytes]).toEqual([0, 0]);
  });

  it('returns urgent records first, even if they were not before', () => {
    const outbox = new Outbox();
    const [a1, a2, a3, b, c] = [
      nodeOf('a'),
      nodeOf('a', { seq: 2 }),
      nodeOf('a', { seq: 3 }),
      nodeOf('b'),
      nodeOf('c'),
    ];
    outbox.put(b, false);
    outbox.put(a1, false);
    outbox.put(a2, true);
    outbox.put(a3, false);
    outbox.put(c, true);
    expect(outbox.isUrgent).toBe(true);
    expect(drained(outbox)).toEqual([a3, c, b]);
    expect([outbox.isUrgent, outbox.bytes]).toEqual([false, 0]);
  });

  it('drops records that the neighbour has sent, and older ones', () => {
    const outbox = new Outbox();
    const [a1, a2, b] = [nodeOf('a'), nodeOf('a', { seq: 2 }), nodeOf('b')];
    outbox.put(a2, true);
    outbox.put(b, false);
    outbox.cancel(a1);
    expect(outbox.size).toBe(2);
    outbox.cancel(a2);
    outbox.cancel(nodeOf('b', { seq: 7 }));
    outbox.cancel(nodeOf('c'));
    expect([outbox.size, outbox.bytes]).toEqual([0, 0]);
  });

  it('drops unwanted records', () => {
    const outbox = new Outbox();
    const [a, b] = [nodeOf('a'), nodeOf('b')];
    outbox.put(a, true);
    outbox.put(b, false);
    expect(outbox.prune((record) => record !== a)).toEqual([a]);
    expect(drained(outbox)).toEqual([b]);
    outbox.put(a, true);
    outbox.clear();
    expect([outbox.size, outbox.bytes]).toEqual([0, 0]);
  });
});

describe('a queue of copies', () => {
  it('keeps the order and counts unrequested records', () => {
    const queue = new CopyQueue();
    const record = nodeOf('a');
    const size = recordCopyBytes(record);
    for (let n = 0; n < 5_000; n++) queue.push({ record, remainingLifeS: n, isAsked: n % 2 === 0 });
    expect([queue.size, queue.bytes, queue.unasked, queue.unaskedBytes]).toEqual([
      5_000,
      5_000 * size,
      2_500,
      2_500 * size,
    ]);
    for (let n = 0; n < 4_000; n++) {
      expect(queue.peek()?.remainingLifeS).toBe(n);
      expect(queue.shift()?.remainingLifeS).toBe(n);
    }
    expect([queue.size, queue.bytes, queue.unasked]).toEqual([1_000, 1_000 * size, 500]);
    for (let n = 4_000; n < 5_000; n++) expect(queue.shift()?.remainingLifeS).toBe(n);
    expect([queue.size, queue.bytes, queue.unasked, queue.unaskedBytes]).toEqual([0, 0, 0, 0]);
    expect(queue.shift()).toBe(undefined);
    queue.push({ record, remainingLifeS: 1, isAsked: false });
    queue.clear();
    expect([queue.size, queue.bytes, queue.unasked, queue.unaskedBytes]).toEqual([0, 0, 0, 0]);
  });
});
