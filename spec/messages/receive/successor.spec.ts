// A sender that has begun another session, over real circuits and in virtual time: what its last run had still to send must not keep it waiting.

import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { resolveMessagesOptions } from '../../../lib/messages/options.js';
import { Post } from '../../../lib/messages/post.js';
import { ABANDON_MS } from '../../../lib/messages/receive/lane-end.js';
import { chunkHead } from '../../../lib/messages/wire/chunks.js';
import { OutcomeCode } from '../../../lib/messages/wire/frames.js';
import { Timers } from '../../../lib/util/timers.js';
import { FakeClock } from '../../support/fake-clock.js';
import { message, messageApart, type RawLane, RawSender, SERVICE } from '../../support/raw-lane.js';
import { type Testnet, testnet } from '../../support/testnet.js';

const BYTES = 70_000;

let net: Testnet;
let clock: FakeClock;
let sender: RawSender;
let runs: unknown[];
/** Called when a handler runs, which then waits for {@link finish}. */
let onRun: (() => void) | undefined;
let finish: () => void;

beforeEach(async () => {
  net = await testnet('memory');
  clock = new FakeClock();
  sender = new RawSender(net.joiner);
  runs = [];
  const post = new Post(net.listener, resolveMessagesOptions(), new Timers(clock), () => {});
  onRun = undefined;
  post.inbox(SERVICE, undefined).onMessage(({ data }) => {
    runs.push(Buffer.isBuffer(data) ? data.length : data);
    if (onRun === undefined) return undefined;
    onRun();
    return new Promise<void>((resolve) => {
      finish = resolve;
    });
  });
});

afterEach(async () => {
  sender.destroy();
  await net.close();
});

/** A run of the sender whose first message waits for its content, and whose circuit is gone. */
async function lostRun(): Promise<void> {
  const lane = await sender.lane('first', 1);
  lane.write(messageApart(0, BYTES, 60_000), message(1, 'behind'));
  await lane.until(() => lane.wanted.length > 0);
  lane.socket.destroy();
  await once(lane.socket, 'close');
}

/** The next run, and its first message, of which the inbox knows. */
async function nextRun(): Promise<RawLane> {
  const lane = await sender.lane('second', 1);
  lane.write(message(0, 'next'));
  return lane;
}

describe('the next run of a sender', () => {
  it('waits for the content of the run before only as long as that may come back', async () => {
    await lostRun();
    const next = await nextRun();
    clock.advance(ABANDON_MS - 1_000);
    expect(runs).toEqual([]);
    clock.advance(1_000);
    await next.outcomeOf(0);
    expect(runs).toEqual(['behind', 'next']);
    // The run before learns that nothing has run.
    const back = await sender.lane('first', 1, true);
    expect(await back.outcomeOf(0)).toBe(OutcomeCode.CONTENT);
    expect(await back.outcomeOf(1)).toBe(OutcomeCode.HANDLED);
  });

  it('waits for a run that has come back', async () => {
    await lostRun();
    const next = await nextRun();
    const back = await sender.lane('first', 1, true);
    await back.until(() => back.wanted.length > 0);
    clock.advance(ABANDON_MS);
    expect(runs).toEqual([]);
    sender.body('first', 1, 0).write(Buffer.concat([chunkHead(BYTES), Buffer.alloc(BYTES), chunkHead(0)]));
    await next.outcomeOf(0);
    expect(runs).toEqual([BYTES, 'behind', 'next']);
  });

  it('is not what ends the waits of a run that is alone', async () => {
    await lostRun();
    clock.advance(ABANDON_MS * 2);
    const back = await sender.lane('first', 1, true);
    await back.until(() => back.wanted.length > 0);
    expect(back.outcomes.has(0)).toBe(false);
  });
});

describe('a content that has arrived', () => {
  it('is not asked for again on the next circuit', async () => {
    const lane = await sender.lane('first', 1);
    lane.write(messageApart(0, BYTES, 60_000));
    await lane.until(() => lane.wanted.length > 0);
    const isRunning = new Promise<void>((resolve) => {
      onRun = resolve;
    });
    sender.body('first', 1, 0).write(Buffer.concat([chunkHead(BYTES), Buffer.alloc(BYTES), chunkHead(0)]));
    await isRunning;
    const next = await sender.lane('first', 1, true);
    finish();
    await next.outcomeOf(0);
    expect(next.wanted).toEqual([]);
  });
});
