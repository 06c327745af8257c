// The promise of docs/messages.md, against a network that breaks anywhere and processes that die, by random steps.

import { afterEach, describe, expect, it, jest } from '@jest/globals';
import fc from 'fast-check';
import { InboxCore } from '../../lib/messages/receive/inbox-core.js';
import { refusal } from '../../lib/messages/receive/incoming.js';
import { Remembered } from '../../lib/messages/receive/remembered.js';
import { ReceiverSession } from '../../lib/messages/receive/session.js';
import { SenderSession } from '../../lib/messages/send/session.js';
import { OutcomeCode } from '../../lib/messages/wire/frames.js';
import { World } from '../support/message-world.js';

/** One step, and two numbers that it may use. */
const step = fc.tuple(
  fc.oneof(
    { weight: 6, arbitrary: fc.constant('send' as const) },
    { weight: 4, arbitrary: fc.constant('call' as const) },
    { weight: 16, arbitrary: fc.constant('deliver' as const) },
    { weight: 5, arbitrary: fc.constant('finish' as const) },
    { weight: 2, arbitrary: fc.constant('cut near' as const) },
    { weight: 2, arbitrary: fc.constant('cut far' as const) },
    { weight: 1, arbitrary: fc.constant('abort' as const) },
    { weight: 3, arbitrary: fc.constant('advance' as const) },
    { weight: 1, arbitrary: fc.constant('restart' as const) },
    { weight: 1, arbitrary: fc.constant('replace' as const) },
    { weight: 1, arbitrary: fc.constant('all' as const) },
  ),
  fc.nat(1_000),
  fc.nat(1_000),
);

const steps = fc.array(step, { minLength: 1, maxLength: 80, size: 'max' });
type Steps = ReadonlyArray<readonly [string, number, number]>;

const TIMEOUTS_MS = [50, 400, 3_000, 20_000];
const ADVANCES_MS = [10, 60, 500, 2_000, 6_000];

async function play(plan: Steps, receivers?: readonly string[]): Promise<string[]> {
  const world = new World(receivers);
  const aborters: AbortController[] = [];
  for (const [kind, a, b] of plan) {
    const wires = world.wires.filter((wire) => !wire.isOver);
    const wire = wires[a % Math.max(1, wires.length)];
    switch (kind) {
      case 'send':
      case 'call': {
        const aborter = new AbortController();
        aborters.push(aborter);
        const key = b % 7 === 0 ? `k${b % 3}` : undefined;
        const isIdempotent = key === undefined && kind === 'call' && b % 8 === 0;
        world.send(kind === 'call', TIMEOUTS_MS[a % 4], isIdempotent, b % 5 === 0, key, aborter.signal);
        break;
      }
      case 'deliver':
        wire?.deliver(b % 2 === 0, 1 + (b % 100 < 70 ? 30_000 : b % 30));
        break;
      case 'all':
        for (const one of wires) {
          one.deliver(true, 200_000);
          await world.settle();
          one.deliver(false, 200_000);
        }
        break;
      case 'finish': {
        const running = world.runs.filter(({ endedAt }) => endedAt === 0);
        running[a % Math.max(1, running.length)]?.finish(b % 4 === 0);
        break;
      }
      case 'cut near':
        wire?.cutNear();
        break;
      case 'cut far':
        wire?.cutFar();
        break;
      case 'abort':
        aborters[a % Math.max(1, aborters.length)]?.abort();
        break;
      case 'replace':
        world.replace(world.receiverIds[a % world.receiverIds.length]);
        break;
      case 'advance':
        await world.advance(ADVANCES_MS[a % 5]);
        break;
      default:
        world.restart(world.receiverIds[a % world.receiverIds.length]);
    }
    await world.settle();
  }
  await world.heal();
  return world.violations();
}

/** Returns whether any of many plans breaks the promise. */
async function check(numRuns: number, seed?: number): Promise<fc.RunDetails<[Steps, boolean]>> {
  return fc.check(
    fc.asyncProperty(steps as fc.Arbitrary<Steps>, fc.boolean(), async (plan, isAlone) => {
      expect(await play(plan, isAlone ? ['AAAAAAAAAAA'] : undefined)).toEqual([]);
    }),
    { numRuns, seed, endOnFailure: true },
  );
}

afterEach(() => {
  jest.restoreAllMocks();
});

describe('the promise', () => {
  it('holds whatever breaks', async () => {
    const { failed, counterexample, errorInstance } = await check(Number(process.env.STARLANE_PROMISE_RUNS ?? 150));
    expect({ failed, counterexample, errorInstance }).toEqual({
      failed: false,
      counterexample: null,
      errorInstance: null,
    });
  });

  describe('is seen to be broken by a copy of the code', () => {
    it('that acknowledges before the handler', async () => {
      const { begin } = InboxCore.prototype;
      jest.spyOn(InboxCore.prototype, 'begin').mockImplementation(function (this: InboxCore, incoming) {
        incoming.settle(refusal(OutcomeCode.HANDLED));
        begin.call(this, incoming);
      });
      expect((await check(400)).failed).toBe(true);
    });

    it('that does not know which messages it has got', async () => {
      const { attach } = ReceiverSession.prototype;
      jest.spyOn(ReceiverSession.prototype, 'attach').mockImplementation(function (this: ReceiverSession, ...args) {
        // What is open counts as not got.
        const session = this as unknown as { next: number };
        session.next -= this.open.size;
        attach.apply(this, args);
      });
      expect((await check(400)).failed).toBe(true);
    });

    it('that forgets the keys of messages', async () => {
      jest.spyOn(Remembered.prototype, 'begin').mockReturnValue(undefined);
      expect((await check(400)).failed).toBe(true);
    });

    it('that reports what has left as not handled', async () => {
      const { takeAll } = SenderSession.prototype;
      jest.spyOn(SenderSession.prototype, 'takeAll').mockImplementation(function (this: SenderSession) {
        const { written, waiting } = takeAll.call(this);
        return { written: [], waiting: [...written, ...waiting] };
      });
      expect((await check(400)).failed).toBe(true);
    });
  });
});
