// Requests by topic: who answers, and how they end.

import { afterEach, describe, expect, it } from '@jest/globals';
import type { TopicMessage } from '../../../lib/messages/index.js';
import { known, Tally, TopicNet } from '../../support/topic-net.js';

let net = new TopicNet();
afterEach(() => net.close());

describe('a request', () => {
  it('is answered by the value of a handler, its promise, or respond()', async () => {
    net = await TopicNet.of(2);
    const [one, other] = net.members;
    one.bus.subscribe('value', ({ data }) => ({ got: data }));
    one.bus.subscribe('promise', async ({ data }) => `got ${data}`);
    one.bus.subscribe('respond', (message) => {
      setImmediate(() => message.respond(Buffer.from('bytes')));
    });
    await known(other, 'value');
    await known(other, 'promise');
    await known(other, 'respond');
    for (const { bus } of [other, one]) {
      expect(await bus.request('value', [1])).toEqual({ got: [1] });
      expect(await bus.request('promise', 'x')).toBe('got x');
      expect(String(await bus.request('respond'))).toBe('bytes');
    }
    const answers = await Promise.all(Array.from({ length: 500 }, (_, index) => other.bus.request('value', index)));
    expect(answers).toEqual(answers.map((_, index) => ({ got: index })));
  });

  it('goes to one subscriber: one with the fewest wildcards, and among those in turn', async () => {
    net = await TopicNet.of(3);
    const [caller, ...others] = net.members;
    const counts = new Map<string, number>();
    const answer = (name: string) => () => {
      counts.set(name, (counts.get(name) ?? 0) + 1);
      return name;
    };
    for (const [index, { bus }] of others.entries()) {
      bus.subscribe('>', answer(`log ${index}`));
      bus.subscribe('a.*', answer(`any ${index}`));
      bus.subscribe('a.b', answer(`plain ${index}`));
      bus.subscribe('a.b', answer(`member ${index}`), { queue: 'q' });
    }
    for (const pattern of ['>', 'a.*', 'a.b']) await known(caller, pattern, 2);
    for (let index = 0; index < 100; index++) await caller.bus.request('a.b');
    expect([...counts.keys()].sort()).toEqual(['member 0', 'member 1', 'plain 0', 'plain 1']);
    expect([...counts.values()].reduce((sum, count) => sum + count)).toBe(100);
    expect(await caller.bus.request('a.c')).toMatch('any');
    expect(await caller.bus.request('b')).toMatch('log');
  });

  it('says what is known when it fails', async () => {
    net = await TopicNet.of(2, {}, { maxMessageBytes: 5_000 });
    const [one, other] = net.members;
    one.bus.subscribe('throws', () => {
      throw Object.assign(new Error('no luck'), { code: 'E_LUCK' });
    });
    one.bus.subscribe('large', () => 'x'.repeat(6_000));
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    one.bus.subscribe('full', { maxPending: 1, whenFull: 'drop-newest' }, () => gate);
    await known(other, 'full');
    for (const { bus } of [one, other]) {
      await expect(bus.request('throws')).rejects.toMatchObject({
        code: 'ERR_STARLANE_HANDLER_FAILED',
        outcome: 'handled',
        message: expect.stringContaining('no luck'),
        cause: { code: 'E_LUCK', message: 'no luck' },
      });
      await expect(bus.request('large')).rejects.toMatchObject({ code: 'ERR_STARLANE_HANDLER_FAILED' });
      await expect(bus.request('large', 'x'.repeat(6_000))).rejects.toMatchObject({
        code: 'ERR_STARLANE_MESSAGE_SIZE',
        outcome: 'not-handled',
      });
    }
    const waiting = [1, 2].map(() => other.bus.request('full', 1, { timeoutMs: 300 }).catch((error) => error));
    await expect(other.bus.request('full')).rejects.toMatchObject({
      code: 'ERR_STARLANE_QUEUE_FULL',
      outcome: 'not-handled',
    });
    for (const error of await Promise.all(waiting))
      expect(error).toMatchObject({ code: 'ETIMEDOUT', outcome: 'unknown' });
    release();
  });

  it('learns that the handler has failed, whatever it has thrown, and the circuit stays', async () => {
    net = await TopicNet.of(2, {}, { maxMessageBytes: 1_024 });
    const [one, other] = net.members;
    const thrown = [Object.create(null), new Error('x'.repeat(2_000)), undefined];
    one.bus.subscribe('throws', ({ data }) => {
      throw thrown[data as number];
    });
    one.bus.subscribe('rejects', async ({ data }) => {
      throw thrown[data as number];
    });
    one.bus.subscribe('pretends', () => ({
      // biome-ignore lint/suspicious/noThenProperty: what handlers return may only look like a promise.
      then() {
        throw new Error('no promise');
      },
    }));
    const topics = ['throws', 'rejects', 'pretends'];
    for (const topic of topics) await known(other, topic);
    for (const { bus } of [other, one]) {
      for (const topic of topics) {
        for (const index of thrown.keys()) {
          await expect(bus.request(topic, index)).rejects.toMatchObject({ code: 'ERR_STARLANE_HANDLER_FAILED' });
        }
      }
    }
  });

  it('runs one handler only, also when the member of a queue group ends that had not begun', async () => {
    net = await TopicNet.of(2);
    const [one, other] = net.members;
    let release = (): void => {};
    const gate = new Promise<string>((resolve) => {
      release = () => resolve('the first');
    });
    const ending = one.bus.subscribe('a', { queue: 'q', maxPending: 1 }, () => gate);
    // The first one runs, the second waits at the subscription, the others before it.
    const requests = Array.from({ length: 5 }, (_, index) => one.bus.request('a', index));
    await new Promise((resolve) => setImmediate(resolve));
    const runs: unknown[] = [];
    other.bus.subscribe('a', { queue: 'q' }, ({ data }) => {
      runs.push(data);
      return 'another';
    });
    await known(one, 'a');
    ending.close();
    release();
    expect(await Promise.all(requests)).toEqual(['the first', 'another', 'another', 'another', 'another']);
    expect(runs.sort()).toEqual([1, 2, 3, 4]);
  });

  it('goes elsewhere when the subscription closes before its handler has begun', async () => {
    net = await TopicNet.of(3);
    const [caller, one, other] = net.members;
    const first = new Tally<unknown>();
    const ending = one.bus.subscribe('a', ({ data }) => {
      first.add(data);
      return new Promise(() => {});
    });
    await known(caller, 'a');
    const begun = caller.bus.request('a', 0).catch((error: unknown) => error);
    const waiting = caller.bus.request('a', 1);
    await first.reached(1);
    other.bus.subscribe('a', ({ data }) => `other ${data}`);
    await known(caller, 'a', 2);
    ending.close();
    expect(await waiting).toBe('other 1');
    expect(await begun).toMatchObject({ code: 'ERR_STARLANE_OUTCOME_UNKNOWN', outcome: 'unknown' });
    expect(first.values).toEqual([0]);
  });

  it('says what is known of it when the topics are closed', async () => {
    net = await TopicNet.of(2);
    const [one, other] = net.members;
    const begun = new Tally<unknown>();
    one.bus.subscribe('a', (message) => {
      begun.add(message);
      return new Promise(() => {});
    });
    const fresh = other.bus.request('nobody').catch((error: unknown) => error);
    await known(other, 'a');
    const sent = other.bus.request('a').catch((error: unknown) => error);
    await begun.reached(1);
    const unsent = other.bus.request('a').catch((error: unknown) => error);
    other.bus.close();
    expect(await sent).toMatchObject({ code: 'ERR_STARLANE_CLOSED', outcome: 'unknown' });
    expect(await unsent).toMatchObject({ code: 'ERR_STARLANE_CLOSED', outcome: 'not-handled' });
    expect(await fresh).toMatchObject({ code: 'ERR_STARLANE_CLOSED', outcome: 'not-handled' });
    await expect(other.bus.request('a')).rejects.toMatchObject({ code: 'ERR_STARLANE_CLOSED', outcome: 'not-handled' });
  });

  it('fails at once when nobody subscribes, except in a node that has just started', async () => {
    net = await TopicNet.of(2);
    const [one, other] = net.members;
    const late = other.bus.request('late', 1);
    one.bus.subscribe('late', () => 'here');
    expect(await late).toBe('here');
    await expect(other.bus.request('nobody', 1)).rejects.toMatchObject({
      code: 'ERR_STARLANE_NO_HANDLER',
      outcome: 'not-handled',
    });
  });

  it('is cancelled by its signal, which reaches the handler', async () => {
    net = await TopicNet.of(2);
    const [one, other] = net.members;
    const started = new Tally<TopicMessage>();
    one.bus.subscribe('slow', (message) => {
      started.add(message);
      return new Promise((resolve) => message.signal.addEventListener('abort', () => resolve('late')));
    });
    await known(other, 'slow');
    for (const { bus } of [other, one]) {
      const count = started.values.length;
      const aborter = new AbortController();
      const request = bus.request('slow', 1, { signal: aborter.signal });
      const message = (await started.reached(count + 1))[count];
      const aborted = new Promise((resolve) => message.signal.addEventListener('abort', () => resolve('aborted')));
      const reason = new Error('enough');
      aborter.abort(reason);
      await expect(request).rejects.toBe(reason);
      expect(await aborted).toBe('aborted');
    }
    await expect(other.bus.request('slow', 1, { timeoutMs: 30 })).rejects.toMatchObject({
      code: 'ETIMEDOUT',
      outcome: 'unknown',
    });
    await expect(other.bus.request('slow', 1, { signal: AbortSignal.abort(new Error('before')) })).rejects.toThrow(
      'before',
    );
  });

  it('goes to another subscriber when the first has left', async () => {
    net = await TopicNet.of(3);
    const [caller, one, other] = net.members;
    const leaving = one.bus.subscribe('a', () => 'one');
    other.bus.subscribe('a', () => 'other');
    await known(caller, 'a', 2);
    await Promise.all([caller.bus.request('a'), caller.bus.request('a')]);
    leaving.close();
    const answers = await Promise.all(Array.from({ length: 20 }, () => caller.bus.request('a')));
    expect(new Set(answers)).toEqual(new Set(['other']));
  });
});

describe('many replies', () => {
  it('come from all subscribers and one member of each group', async () => {
    net = await TopicNet.of(3);
    const [caller, ...others] = net.members;
    for (const [index, { bus }] of [...others, caller].entries()) {
      bus.subscribe('who', () => `plain ${index}`);
      bus.subscribe('who', { queue: 'q' }, async (message) => {
        message.respond('member, first');
        message.respond('member, last');
      });
    }
    await known(caller, 'who', 2);
    const replies: unknown[] = [];
    for await (const reply of caller.bus.requestMany('who', 1, { timeoutMs: 20_000 })) replies.push(reply);
    expect(replies.map(String).sort()).toEqual(['member, first', 'member, last', 'plain 0', 'plain 1', 'plain 2']);
    const few: unknown[] = [];
    for await (const reply of caller.bus.requestMany('who', 1, { timeoutMs: 20_000, limit: 2 })) few.push(reply);
    expect(few).toHaveLength(2);
  });

  it('end with the timeout, and fail without subscribers', async () => {
    net = await TopicNet.of(2);
    const [one, other] = net.members;
    one.bus.subscribe('silent', () => {});
    one.bus.subscribe('silent', (message) => {
      message.respond('one');
    });
    await known(other, 'silent');
    const replies: unknown[] = [];
    for await (const reply of other.bus.requestMany('silent', 1, { timeoutMs: 1_500 })) replies.push(reply);
    expect(replies).toEqual(['one']);
    await expect(other.bus.requestMany('nobody').next()).rejects.toMatchObject({ code: 'ERR_STARLANE_NO_HANDLER' });
    for (const [data, code] of [
      ['x'.repeat(2 ** 20 + 1), 'ERR_STARLANE_MESSAGE_SIZE'],
      [() => {}, 'ERR_STARLANE_ARGUMENT'],
    ]) {
      await expect(other.bus.requestMany('silent', data).next()).rejects.toMatchObject({ code });
    }
  });
});
