// What is kept of messages until it is confirmed, and what is sent again.

import { describe, expect, it } from '@jest/globals';
import { FrameReader } from '../../../lib/messages/topics/codec/frame-reader.js';
import { MessageWriter } from '../../../lib/messages/topics/codec/message-writer.js';
import { readData } from '../../../lib/messages/topics/message.js';
import { type FullPolicy, Outlet } from '../../../lib/messages/topics/outlet.js';

/** The other end of a circuit: what was sent there, by number. */
class FarEnd {
  writableNeedDrain = false;
  readonly seen: Array<[number, unknown]> = [];
  private next = 0;
  private readonly reader = new FrameReader(this, 1e6);

  write(bytes: Buffer): boolean {
    this.reader.push(bytes);
    return true;
  }

  onFrame(): void {}

  onData(first: number): void {
    this.next = first;
  }

  onMessage(buffer: Buffer, start: number, end: number): void {
    this.seen.push([this.next++, readData(buffer, start, end)]);
  }
}

function outletOf(maxBytes = 1e6, policy: FullPolicy = 'drop-newest') {
  const writer = new MessageWriter(1e6);
  let dropped = 0;
  const outlet = new Outlet(maxBytes, policy, (count) => {
    dropped += count;
  });
  return {
    outlet,
    dropped: () => dropped,
    add(data: unknown, mask = 1): number {
      writer.encode(Buffer.from('t'), data, undefined);
      return outlet.append(writer.buffer, writer.start, writer.end, mask);
    },
    sendTo(far: FarEnd): FarEnd {
      outlet.seal();
      outlet.send(far as never);
      return far;
    },
  };
}

describe('an outlet', () => {
  it('numbers messages, sends each once, and forgets what is confirmed', () => {
    const { outlet, add, sendTo } = outletOf();
    add('a');
    add('b');
    const far = sendTo(new FarEnd());
    add('c');
    sendTo(far);
    expect(far.seen).toEqual([
      [1, 'a'],
      [2, 'b'],
      [3, 'c'],
    ]);
    expect(outlet.pending).toBe(3);
    expect(outlet.confirm(2)).toBe(true);
    expect(outlet.pending).toBe(1);
    expect(outlet.confirm(3)).toBe(true);
    expect({ ...outlet }).toMatchObject({ bytes: 0, pending: 0 });
    expect(outlet.isEmpty).toBe(true);
  });

  it('sends over another circuit what the other end has not got', () => {
    const { outlet, add, sendTo } = outletOf();
    for (const one of ['a', 'b']) {
      add(one);
      sendTo(new FarEnd());
    }
    add('c');
    expect(outlet.resume(1)).toBe(true);
    expect(sendTo(new FarEnd()).seen).toEqual([
      [2, 'b'],
      [3, 'c'],
    ]);
  });

  it('does not believe what cannot be', () => {
    const { outlet, add, sendTo } = outletOf();
    add('a');
    expect(outlet.confirm(1)).toBe(false);
    expect(outlet.resume(1)).toBe(false);
    sendTo(new FarEnd());
    expect(outlet.confirm(2)).toBe(false);
    expect(outlet.confirm(1)).toBe(true);
  });

  it('waits while the circuit takes nothing', () => {
    const { add, sendTo } = outletOf();
    const far = new FarEnd();
    far.writableNeedDrain = true;
    add('a');
    expect(sendTo(far).seen).toEqual([]);
    far.writableNeedDrain = false;
    expect(sendTo(far).seen).toEqual([[1, 'a']]);
  });

  it('drops the newest beyond its bound, and leaves its number out', () => {
    const { outlet, add, sendTo, dropped } = outletOf(300);
    expect(add('x'.repeat(250))).toBe(1);
    expect(add('y'.repeat(250))).toBe(0);
    expect(dropped()).toBe(1);
    const far = sendTo(new FarEnd());
    outlet.confirm(1);
    add('z');
    sendTo(far);
    expect(far.seen.map(([number]) => number)).toEqual([1, 3]);
  });

  it('drops the oldest that were not sent', () => {
    const { outlet, add, sendTo, dropped } = outletOf(1_000, 'drop-oldest');
    const far = sendTo(new FarEnd());
    far.writableNeedDrain = true;
    for (const one of ['a', 'b', 'c', 'd']) {
      expect(add(one.repeat(200))).toBeGreaterThan(0);
      sendTo(far);
    }
    expect(dropped()).toBeGreaterThan(0);
    far.writableNeedDrain = false;
    // Half of the bound is sent at a time.
    while (!outlet.isEmpty) outlet.confirm(sendTo(far).seen.at(-1)?.[0] ?? 0);
    expect(far.seen.map(([number]) => number)).toEqual([1, 2, 3, 4].slice(dropped()));
    expect(far.seen.at(-1)?.[1]).toBe('d'.repeat(200));
  });

  it('hands back what is not confirmed, and says what may have arrived', () => {
    const { outlet, add, sendTo } = outletOf();
    add('a', 1);
    add('b', 2);
    sendTo(new FarEnd());
    outlet.confirm(1);
    add('c', 2);
    const leftovers = outlet.takeLeftovers();
    expect(
      leftovers.map(({ buffer, start, end, mask, wasSent, sequence }) => [
        sequence,
        readData(buffer, start, end),
        mask,
        wasSent,
      ]),
    ).toEqual([
      [2, 'b', 2, true],
      [3, 'c', 2, false],
    ]);
    expect(outlet.isEmpty).toBe(true);
  });

  it('keeps messages apart that are for others', () => {
    const { add, sendTo } = outletOf();
    for (let index = 0; index < 1_000; index++) add(index, index % 3);
    expect(sendTo(new FarEnd()).seen).toEqual(Array.from({ length: 1_000 }, (_, index) => [index + 1, index]));
  });
});
