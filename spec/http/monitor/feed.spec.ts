// The live stream of the monitor: one read of the source for all readers, only what has changed, and bounds on readers that do not read.

import { EventEmitter } from 'node:events';
import type { ServerResponse } from 'node:http';
import { afterEach, describe, expect, it } from '@jest/globals';
import { Feed } from '../../../lib/http/monitor/feed.js';
import type { FullUpdate, NodeRow, Update } from '../../../lib/http/monitor/snapshot.js';
import { Timers } from '../../../lib/util/timers.js';
import { FakeClock } from '../../support/fake-clock.js';
import { FakeSource } from './fake-source.js';

type Sent = { readonly event: string; readonly data: FullUpdate & Update };

/** What a reader has got. `writableLength` grows while it does not read. */
class FakeReader extends EventEmitter {
  readonly sent: Sent[] = [];
  writableLength = 0;
  isReading = true;
  isDestroyed = false;
  isEnded = false;

  write(text: string): boolean {
    const [, event, data] = /^event: (\w+)\ndata: (.*)\n\n$/.exec(text) as unknown as [string, string, string];
    this.sent.push({ event, data: JSON.parse(data) });
    if (!this.isReading) this.writableLength += text.length;
    return this.isReading;
  }

  destroy(): void {
    this.isDestroyed = true;
    this.emit('close');
  }

  end(): void {
    this.isEnded = true;
    this.emit('close');
  }

  get events(): string[] {
    return this.sent.map(({ event }) => event);
  }

  get last(): Sent {
    return this.sent.at(-1) as Sent;
  }
}

let feed: Feed | undefined;
afterEach(() => feed?.close());

function start(nodes = 5, services = 10) {
  const clock = new FakeClock();
  const source = new FakeSource({ nodes, services });
  feed = new Feed(source, 3, () => {}, new Timers(clock));
  const live = feed;
  const add = (): FakeReader => {
    const reader = new FakeReader();
    live.add(reader as unknown as ServerResponse);
    return reader;
  };
  return { clock, source, feed: live, add };
}

describe('the live stream', () => {
  it('begins with everything, and goes on with what has changed', () => {
    const { clock, source, add } = start();
    const reader = add();
    expect(reader.events).toEqual(['snapshot']);
    expect(reader.last.data.snapshot.nodes).toHaveLength(5);
    const [first] = source.services;
    source.services = [
      ...source.services.slice(1),
      { ...(first as (typeof source.services)[0]), id: 'new', service: 'added' },
    ];
    clock.advance(1_010);
    expect(reader.events).toEqual(['snapshot', 'update']);
    expect(reader.last.data.tables).toEqual({
      services: { set: [expect.objectContaining({ service: 'added' })], gone: [first?.id] },
    });
  });

  it('reads the source once a second for all readers, and not at all without one', () => {
    const { clock, source, add } = start();
    clock.advance(10_000);
    expect(source.reads).toBe(0);
    const readers = [add(), add(), add()];
    const before = source.reads;
    clock.advance(10_100);
    expect(source.reads - before).toBeLessThanOrEqual(11);
    for (const reader of readers) reader.destroy();
    const after = source.reads;
    clock.advance(10_000);
    expect(source.reads).toBe(after);
    expect(clock.armed).toBe(0);
  });

  it('sends a change soon, but no more than four times a second', () => {
    const { clock, source, add } = start();
    const reader = add();
    for (let step = 0; step < 100; step++) {
      source.event('link', 'good', `link ${step}`);
      source.change();
      clock.advance(10);
    }
    expect(reader.sent.length).toBeGreaterThanOrEqual(4);
    expect(reader.sent.length).toBeLessThanOrEqual(6);
  });

  it('sends at most 200 events in one update, the newest, and as many as it keeps with everything', () => {
    const { clock, source, add } = start();
    const reader = add();
    for (let at = 1; at <= 5_000; at++) source.event('service', 'plain', `number ${at}`);
    clock.advance(300);
    expect(reader.last.data.events).toHaveLength(200);
    expect(reader.last.data.events.at(-1)).toMatchObject({ id: 5_000, text: 'number 5000' });
    const second = add();
    clock.advance(300);
    expect(second.last.data.events).toHaveLength(1_000);
    source.event('service', 'plain', 'x'.repeat(10_000));
    clock.advance(300);
    expect(second.last.data.events[0]?.text).toHaveLength(300);
  });

  it('has a place for so many readers, and gives it to another when one goes', () => {
    const { feed, add } = start();
    const readers = [add(), add(), add()];
    expect(feed.isFull).toBe(true);
    readers[0]?.destroy();
    expect(feed.isFull).toBe(false);
  });

  it('lets at most one snapshot wait for a reader that does not read, then cuts it off, and serves the others', () => {
    const { clock, source, add } = start(50, 3_000);
    const slow = add();
    const quick = add();
    clock.advance(300);
    slow.isReading = false;
    slow.writableLength = 300 * 1024;
    const { length } = slow.sent;
    for (let second = 0; second < 25; second++) {
      source.tick();
      clock.advance(1_000);
    }
    expect(slow.sent).toHaveLength(length);
    expect(quick.sent.length).toBeGreaterThan(20);
    expect(slow.isDestroyed).toBe(false);
    clock.advance(10_000);
    expect(slow.isDestroyed).toBe(true);
    expect(quick.isDestroyed).toBe(false);
  });

  it('sends everything to a reader that reads again', () => {
    const { clock, source, add } = start();
    const reader = add();
    reader.writableLength = 300 * 1024;
    source.addNode('n90000aaaaA', 'late');
    clock.advance(3_000);
    expect(reader.events).toEqual(['snapshot']);
    reader.writableLength = 0;
    clock.advance(1_000);
    expect(reader.events).toEqual(['snapshot', 'snapshot']);
    expect(reader.last.data.snapshot.nodes.map(({ name }: NodeRow) => name)).toContain('late');
  });

  it('ends for all readers', () => {
    const { feed, source, add } = start();
    const readers = [add(), add()];
    feed.close();
    expect(readers.every(({ isEnded }) => isEnded)).toBe(true);
    expect(source.isWatched).toBe(false);
  });
});
