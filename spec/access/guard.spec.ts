import { beforeEach, describe, expect, it } from '@jest/globals';
import { Decision, Guard, type Verdict } from '../../lib/access/guard.js';
import type { Allow, AllowRequest } from '../../lib/options/allow.js';
import { Timers } from '../../lib/util/timers.js';
import { catchErrorsOfTicks } from '../support/caught-errors.js';
import { FakeClock } from '../support/fake-clock.js';
import { turn } from '../support/turns.js';

const REQUEST: AllowRequest = {
  peer: { id: 'AAAAAAAAAAA', name: undefined, tags: [], verified: true, via: [], env: [] },
  service: 'web',
  port: 80,
  direction: 'dial',
};

let clock: FakeClock;
let timers: Timers;
let verdicts: Verdict[];
let warnings: Array<[subject: string, code: string, cause: unknown]>;

beforeEach(() => {
  clock = new FakeClock();
  timers = new Timers(clock, 1);
  verdicts = [];
  warnings = [];
});

function decisionOf(...allows: Allow[]): Decision {
  const guards = allows.map(
    (allow, index) =>
      new Guard(allow, index === 0 ? 'node' : 'server', (subject, { code, cause }) => {
        warnings.push([subject, code, cause]);
      }),
  );
  return new Decision(guards, REQUEST, { timers, timeoutMs: 100, onDecided: (verdict) => verdicts.push(verdict) });
}

/** A promise in the hands of the spec. */
function promise(): { promise: Promise<boolean>; resolve(value: unknown): void; reject(error: unknown): void } {
  let resolve: (value: unknown) => void = () => {};
  let reject: (error: unknown) => void = () => {};
  const made = new Promise<boolean>((yes, no) => {
    resolve = yes as (value: unknown) => void;
    reject = no;
  });
  return { promise: made, resolve, reject };
}

describe('a decision', () => {
  const caught = catchErrorsOfTicks();

  it.each<[string, Allow[], Verdict]>([
    ['rules that fit', [[{ service: 'web' }]], true],
    ['rules that do not', [[{ service: 'db' }]], 'no rule of the node allows it'],
    ['no rules', [[]], 'no rule of the node allows it'],
    ['a yes', [() => true], true],
    ['a no', [() => false], 'the node does not allow it'],
    ['two that allow it', [() => true, [{}]], true],
    ['a node that does not', [() => false, () => true], 'the node does not allow it'],
    ['a server that does not', [[{}], () => false], 'the server does not allow it'],
    ['a server without a rule for it', [() => true, []], 'no rule of the server allows it'],
  ])('comes at once from %s', (_what, allows, verdict) => {
    expect(decisionOf(...allows).start()).toBe(true);
    expect([verdicts, warnings, timers.size]).toEqual([[verdict], [], 0]);
  });

  it('is made by the node first, and by the server only when the node allows it', () => {
    const asked: unknown[] = [];
    const ask = (answer: boolean) => (request: AllowRequest) => {
      asked.push(request);
      return answer;
    };
    decisionOf(ask(false), ask(true)).start();
    expect(asked).toEqual([REQUEST]);
    decisionOf(ask(true), ask(true)).start();
    expect(asked).toHaveLength(3);
  });

  it.each<[string, Allow, string]>([
    ['undefined', (() => undefined) as unknown as Allow, 'neither true nor false'],
    ['what is only truthy', (() => 'yes') as unknown as Allow, 'neither true nor false'],
    ['an object', (() => ({ allow: true })) as unknown as Allow, 'neither true nor false'],
  ])('is a no, with a warning, when the answer is %s', (_what, allow, text) => {
    decisionOf(allow).start();
    expect(verdicts).toEqual(['the node does not allow it']);
    expect(warnings).toEqual([[expect.stringContaining(text), 'ERR_STARLANE_ALLOW', undefined]]);
  });

  it('is a denial, with a warning, when a function throws', () => {
    const cause = new Error('of the user');
    const failing = (thrown: unknown) => () => {
      throw thrown;
    };
    decisionOf(failing(cause)).start();
    decisionOf(() => true, failing(undefined)).start();
    expect(verdicts).toEqual(['the node could not decide', 'the server could not decide']);
    expect(warnings).toEqual([
      ['allow of the node: of the user', 'ERR_STARLANE_ALLOW', cause],
      ['allow of the server: it threw something that is not an Error', 'ERR_STARLANE_ALLOW', undefined],
    ]);
  });

  it('waits for a promise, and then asks the next guard', async () => {
    const [node, server] = [promise(), promise()];
    const decision = decisionOf(
      () => node.promise,
      () => server.promise,
    );
    expect(decision.start()).toBe(false);
    node.resolve(true);
    await turn();
    expect(verdicts).toEqual([]);
    server.resolve(true);
    await turn();
    expect([verdicts, timers.size]).toEqual([[true], 0]);
  });

  it.each<[string, (answer: ReturnType<typeof promise>) => void, string, number]>([
    ['no', (answer) => answer.resolve(false), 'the server does not allow it', 0],
    ['nothing', (answer) => answer.resolve(undefined), 'the server does not allow it', 1],
    ['an error', (answer) => answer.reject(new Error('of the user')), 'the server could not decide', 1],
  ])('is a no when the promise comes to %s', async (_what, settle, verdict, warned) => {
    const answer = promise();
    decisionOf([{}], () => answer.promise).start();
    settle(answer);
    await turn();
    expect([verdicts, timers.size]).toEqual([[verdict], 0]);
    expect(warnings.map(([, code]) => code)).toEqual(Array(warned).fill('ERR_STARLANE_ALLOW'));
  });

  it('accepts promises of other libraries, and denies when one is rejected', async () => {
    // biome-ignore lint/suspicious/noThenProperty: a promise of others
    const promiseLike = { then: (yes: (value: boolean) => void) => yes(true) };
    const broken = {
      // biome-ignore lint/suspicious/noThenProperty: the same, broken
      get then(): never {
        throw new Error('of a getter');
      },
    };
    decisionOf((() => promiseLike) as unknown as Allow).start();
    decisionOf((() => broken) as unknown as Allow).start();
    await turn();
    expect(verdicts).toEqual(['the node could not decide', true]);
  });

  it('is a denial after one timeout for all guards, and later answers change nothing', async () => {
    const [node, server] = [promise(), promise()];
    decisionOf(
      () => node.promise,
      () => server.promise,
    ).start();
    clock.advance(60);
    node.resolve(true);
    await turn();
    clock.advance(39);
    clock.runImmediates();
    expect(verdicts).toEqual([]);
    clock.advance(2);
    clock.runImmediates();
    expect(verdicts).toEqual(['the server did not decide in time']);
    server.reject(new Error('too late'));
    await turn();
    expect([verdicts.length, warnings, timers.size]).toEqual([1, [], 0]);
  });

  it('that has arrived while the process was busy is in time', async () => {
    const answer = promise();
    decisionOf(() => answer.promise).start();
    clock.lag(500);
    clock.advance(0);
    answer.resolve(true);
    await turn();
    clock.runImmediates();
    expect(verdicts).toEqual([true]);
  });

  it('is not reported once it is cancelled, even by the function itself', async () => {
    const answer = promise();
    const decision = decisionOf(() => answer.promise);
    decision.start();
    decision.cancel();
    answer.resolve(true);
    const own: Decision = decisionOf(() => {
      own.cancel();
      return true;
    });
    own.start();
    await turn();
    clock.advance(1000);
    clock.runImmediates();
    expect([verdicts, timers.size]).toEqual([[], 0]);
  });

  it('throws the error of its callback in a later tick', async () => {
    const guard = new Guard(
      () => Promise.resolve(true),
      'node',
      () => {},
    );
    const onDecided = (): never => {
      throw new Error('of a listener');
    };
    new Decision([guard], REQUEST, { timers, timeoutMs: 100, onDecided }).start();
    await turn();
    expect(caught.map(({ message }) => message)).toEqual(['of a listener']);
  });
});
