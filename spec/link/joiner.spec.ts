import { afterEach, describe, expect, it } from '@jest/globals';
import { isPermanent, isTaken } from '../../lib/link/handshake/refusals.js';
import { Joiner } from '../../lib/link/joiner.js';
import type { Link } from '../../lib/link/link.js';
import { Timers } from '../../lib/util/timers.js';
import { FakeClock } from '../support/fake-clock.js';
import { turn } from '../support/turns.js';

const MINUTE_MS = 60_000;

/** Dials that the spec decides about. */
class Dialling {
  readonly clock = new FakeClock();
  readonly timers = new Timers(this.clock);
  readonly waits: number[] = [];
  readonly errors: Error[] = [];
  ended = 0;
  random = 0;
  private dials: Array<{ resolve(link: Link): void; reject(error: Error): void; signal: AbortSignal }> = [];
  readonly joiner = new Joiner({
    address: 'tcp://127.0.0.1:1',
    dial: (signal) => new Promise((resolve, reject) => this.dials.push({ resolve, reject, signal })),
    backOff: { minMs: 500, maxMs: MINUTE_MS },
    timers: this.timers,
    random: () => this.random,
    isFinal: isPermanent,
    isForbidden: isTaken,
    onRetry: (error, waitMs) => {
      this.errors.push(error);
      this.waits.push(waitMs);
    },
    onEnd: () => {
      this.ended++;
    },
  }).start();

  /** How many dials are going on. */
  get going(): number {
    return this.dials.length;
  }

  get signal(): AbortSignal {
    return this.dials[0].signal;
  }

  async fail(error: Error = refused()): Promise<void> {
    this.dials.shift()?.reject(error);
    await turn();
  }

  async succeed(): Promise<Link> {
    const link = { isUp: true, address: 'tcp://127.0.0.1:1' } as Link;
    this.dials.shift()?.resolve(link);
    await turn();
    return link;
  }

  async pass(ms: number): Promise<void> {
    this.clock.advance(ms);
    await turn();
  }
}

function refused(): Error {
  return Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
}

function coded(code: string): Error {
  return Object.assign(new Error(code), { code });
}

let made: Dialling[] = [];
function dialling(): Dialling {
  const one = new Dialling();
  made.push(one);
  return one;
}

afterEach(() => {
  for (const { joiner, timers } of made) {
    joiner.stop();
    expect(timers.size).toBe(0);
  }
  made = [];
});

describe('a join', () => {
  it('is resolved with the first link that is up', async () => {
    const net = dialling();
    const wait = net.joiner.wait();
    const link = await net.succeed();
    expect(await wait).toBe(link);
    expect(await net.joiner.wait()).toBe(link);
  });

  it('retries after a transient fault, and reports each', async () => {
    const net = dialling();
    const wait = net.joiner.wait();
    await net.fail();
    expect(net.errors).toMatchObject([{ code: 'ECONNREFUSED' }]);
    expect(net.going).toBe(0);
    await net.pass(510);
    expect(net.going).toBe(1);
    const link = await net.succeed();
    expect(await wait).toBe(link);
  });

  it.each([
    'ERR_STARLANE_SELF_LINK',
    'ERR_STARLANE_VERSION',
    'ERR_STARLANE_OPTION',
    'ERR_STARLANE_ADDRESS',
    'ERR_SSL_WRONG_VERSION_NUMBER',
    'DEPTH_ZERO_SELF_SIGNED_CERT',
    'CERT_HAS_EXPIRED',
    'ERR_TLS_CERT_ALTNAME_INVALID',
  ])('is rejected at once by %s', async (code) => {
    const net = dialling();
    const outcome = expect(net.joiner.wait()).rejects.toMatchObject({ code });
    await net.fail(coded(code));
    await outcome;
    expect([net.ended, net.waits]).toEqual([1, []]);
  });

  it('ends for good when a newer process has the identity, whatever has worked before', async () => {
    const net = dialling();
    const link = await net.succeed();
    net.joiner.onUnlink(link, false);
    await net.pass(510);
    await net.fail(coded('ERR_STARLANE_DUPLICATE_IDENTITY'));
    await net.pass(10 * MINUTE_MS);
    expect([net.ended, net.going]).toEqual([1, 0]);
  });

  it('ends with the reason of its signal when there is no other wait', async () => {
    const net = dialling();
    const aborter = new AbortController();
    const outcome = expect(net.joiner.wait({ signal: aborter.signal })).rejects.toThrow('enough');
    aborter.abort(new Error('enough'));
    await outcome;
    expect(net.signal.aborted).toBe(true);
    expect(net.ended).toBe(1);
  });

  it('goes on after a signal as long as another one waits', async () => {
    const net = dialling();
    const other = net.joiner.wait();
    const aborter = new AbortController();
    const outcome = expect(net.joiner.wait({ signal: aborter.signal })).rejects.toThrow('enough');
    aborter.abort(new Error('enough'));
    await outcome;
    const link = await net.succeed();
    expect(await other).toBe(link);
  });

  it.each<[string, (net: Dialling) => Promise<unknown>, object]>([
    [
      'its signal',
      async (net) => {
        const aborter = new AbortController();
        const wait = net.joiner.wait({ signal: aborter.signal });
        await net.fail();
        aborter.abort();
        return wait;
      },
      { name: 'AbortError', code: 'ABORT_ERR', reason: { name: 'AbortError' } },
    ],
    [
      'a signal whose reason is no error',
      async (net) => {
        const aborter = new AbortController();
        const wait = net.joiner.wait({ signal: aborter.signal });
        await net.fail();
        aborter.abort('enough');
        return wait;
      },
      { name: 'AbortError', code: 'ABORT_ERR', reason: 'enough', message: expect.stringContaining('enough') },
    ],
    [
      'its timeout',
      async (net) => {
        const wait = net.joiner.wait({ timeoutMs: 100 });
        await net.fail();
        await net.pass(110);
        return wait;
      },
      { code: 'ETIMEDOUT', syscall: 'join', message: 'join ETIMEDOUT tcp://127.0.0.1:1' },
    ],
    [
      'a stop',
      async (net) => {
        const wait = net.joiner.wait();
        await net.fail();
        net.joiner.stop();
        return wait;
      },
      { code: 'ERR_STARLANE_CLOSED' },
    ],
  ])('that %s ends is rejected with the last failure as cause, and dials no more', async (_what, end, expected) => {
    const net = dialling();
    await expect(end(net)).rejects.toMatchObject({ ...expected, cause: { code: 'ECONNREFUSED' } });
    await net.pass(10 * MINUTE_MS);
    expect([net.ended, net.going]).toEqual([1, 0]);
  });

  it('leaves the reason of a signal as it is, and does not begin to wait for one that has been given', async () => {
    const net = dialling();
    const reason = Object.freeze(new TypeError('enough'));
    await expect(net.joiner.wait({ signal: AbortSignal.abort(reason) })).rejects.toMatchObject({
      name: 'TypeError',
      message: 'enough',
      reason,
    });
    expect(net.ended).toBe(1);
  });

  it('forgets its timeout with the first link', async () => {
    const net = dialling();
    const wait = net.joiner.wait({ timeoutMs: 100 });
    const link = await net.succeed();
    await net.pass(200);
    expect(await wait).toBe(link);
    expect(net.ended).toBe(0);
  });

  it('is rejected when it is stopped, and then dials no more', async () => {
    const net = dialling();
    const outcome = expect(net.joiner.wait()).rejects.toMatchObject({ code: 'ERR_STARLANE_CLOSED' });
    await net.fail();
    net.joiner.stop();
    await outcome;
    await net.pass(10 * MINUTE_MS);
    expect(net.going).toBe(0);
    await expect(net.joiner.wait()).rejects.toMatchObject({ code: 'ERR_STARLANE_CLOSED' });
  });
});

describe('a link that is lost', () => {
  it('is joined again, whatever the fault is now', async () => {
    const net = dialling();
    net.joiner.wait();
    const link = await net.succeed();
    net.joiner.onUnlink(link, false);
    await net.pass(510);
    await net.fail(coded('ERR_STARLANE_VERSION'));
    await net.pass(1_010);
    const again = await net.succeed();
    expect(await net.joiner.wait()).toBe(again);
  });

  it('is not joined again when its user has closed it', async () => {
    const net = dialling();
    net.joiner.wait();
    const link = await net.succeed();
    net.joiner.onUnlink(link, true);
    expect(net.ended).toBe(1);
    await net.pass(10 * MINUTE_MS);
    expect(net.going).toBe(0);
  });

  it('does not concern the joiner of another', async () => {
    const net = dialling();
    net.joiner.wait();
    await net.succeed();
    net.joiner.onUnlink({} as Link, false);
    await net.pass(10 * MINUTE_MS);
    expect(net.going).toBe(0);
  });
});

describe('the wait between two attempts', () => {
  it('doubles up to the longest, and no further', async () => {
    const net = dialling();
    const outcome = expect(net.joiner.wait()).rejects.toBeInstanceOf(Error);
    for (let failure = 0; failure < 60; failure++) {
      await net.fail();
      await net.pass(MINUTE_MS + 10);
    }
    expect(net.waits.slice(0, 9)).toEqual([500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
    expect(net.waits.at(-1)).toBe(60_000);
    net.joiner.stop();
    await outcome;
  });

  it('is up to half as long, at random', async () => {
    const net = dialling();
    const outcome = expect(net.joiner.wait()).rejects.toBeInstanceOf(Error);
    net.random = 0.999;
    await net.fail();
    expect(net.waits[0]).toBeCloseTo(250.25);
    net.joiner.stop();
    await outcome;
  });

  it('begins its back-off again once a link has been up for a minute, and not before', async () => {
    const net = dialling();
    net.joiner.wait();
    for (let failure = 0; failure < 3; failure++) {
      await net.fail();
      await net.pass(5_000);
    }
    const brief = await net.succeed();
    await net.pass(MINUTE_MS - 100);
    net.joiner.onUnlink(brief, false);
    expect(net.waits.at(-1)).toBe(4_000);
    await net.pass(5_000);
    const proven = await net.succeed();
    await net.pass(MINUTE_MS);
    net.joiner.onUnlink(proven, false);
    expect(net.waits.at(-1)).toBe(500);
  });
});
