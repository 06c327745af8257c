// Whose turn it is among calls that wait for more than one thing: a place of their command, of their caller, and of all.

import { describe, expect, it } from '@jest/globals';
import type { Incoming } from '../../../lib/messages/receive/incoming.js';
import { IncomingState } from '../../../lib/messages/receive/incoming.js';
import { IncomingList } from '../../../lib/messages/receive/incoming-list.js';
import { InboxQueue, type Turnstile } from '../../../lib/messages/receive/queue.js';

class Calls {
  readonly begun: string[] = [];
  readonly queue: InboxQueue;
  private readonly commands = new Map<number, Turnstile>();

  constructor(concurrency: number, commands: Readonly<Record<number, number>>) {
    for (const [number, limit] of Object.entries(commands)) {
      this.commands.set(Number(number), { concurrency: limit, running: 0, waiting: new IncomingList() });
    }
    this.queue = new InboxQueue(
      {
        now: () => 0,
        command: (number) => this.commands.get(number),
        turnstiles: () => this.commands.values(),
        takesMessages: 'now',
        begin: (incoming) => void this.begun.push((incoming as unknown as { name: string }).name),
      },
      concurrency,
    );
  }

  add(name: string, command: number, key = 'ada'): Incoming {
    const call = {
      name,
      command,
      sender: { key },
      state: IncomingState.WAITING,
      deadlineMs: Number.POSITIVE_INFINITY,
    } as unknown as Incoming;
    this.queue.add(call);
    return call;
  }

  done(call: Incoming): void {
    call.state = IncomingState.SETTLED;
    this.queue.onDone(call);
  }
}

describe('calls that wait', () => {
  it('go on when the one whose turn it would be was taken back', () => {
    const calls = new Calls(1, { 1: 1, 2: 1 });
    const first = calls.add('first', 1);
    const second = calls.add('second', 1);
    calls.add('third', 1);
    const other = calls.add('other', 2);
    calls.done(first);
    expect(calls.begun).toEqual(['first', 'other']);
    expect(calls.queue.remove(second)).toBe(true);
    calls.done(other);
    expect(calls.begun).toEqual(['first', 'other', 'third']);
  });

  it('of another caller take the place that a busy caller cannot', () => {
    const calls = new Calls(100, { 1: 1, 2: 100 });
    const first = calls.add('first', 1, 'bob');
    calls.add('of the busy one', 1, 'ada');
    calls.add('of another one', 1, 'eve');
    for (let count = 0; count < 64; count++) calls.add('long', 2, 'ada');
    calls.done(first);
    expect(calls.begun.at(-1)).toBe('of another one');
  });

  it('of a free command begin although the one before waits for a busy command', () => {
    const calls = new Calls(4, { 1: 1, 2: 4 });
    calls.add('of another one', 1, 'bob');
    const running = [0, 1, 2, 3].map((index) => calls.add(`${index}`, 2, 'ada'));
    const blocked = running.pop() as Incoming;
    expect(blocked.state).toBe(IncomingState.WAITING);
    calls.add('waits', 1, 'ada');
    for (const call of running) calls.done(call);
    expect(calls.begun.at(-1)).toBe('3');
  });

  it('all begin, in whatever order calls come, end and are taken back', () => {
    for (let seed = 1; seed <= 100; seed++) {
      let state = seed;
      const random = (below: number): number => {
        state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
        return (state >>> 8) % below;
      };
      const calls = new Calls(1 + random(80), { 1: 1, 2: 2, 3: 70 });
      let open: Incoming[] = [];
      for (let step = 0; step < 150; step++) {
        const at = open[random(Math.max(1, open.length))];
        const kind = random(5);
        if (kind < 3 || at === undefined) open.push(calls.add(`${step}`, 1 + random(3), `caller ${random(2)}`));
        else if (at.state === IncomingState.RUNNING) calls.done(at);
        else if (kind === 4) {
          calls.queue.remove(at);
          at.state = IncomingState.SETTLED;
        }
        open = open.filter((call) => call.state !== IncomingState.SETTLED);
      }
      while (open.length > 0) {
        const running = open.find((call) => call.state === IncomingState.RUNNING);
        expect(running).toBeDefined();
        calls.done(running as Incoming);
        open = open.filter((call) => call.state !== IncomingState.SETTLED);
      }
      expect(calls.queue.active).toBe(0);
    }
  });
});
