import { PassThrough } from 'node:stream';
import { afterEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { sendInput } from '../../../../lib/cli/agent/jobs/caller/input-sender.js';
import { INPUT_ANSWER_MS, JobInput } from '../../../../lib/cli/agent/jobs/input.js';
import { Timers } from '../../../../lib/util/timers.js';
import { FakeClock } from '../../../support/fake-clock.js';

const clock = new FakeClock();
const timers = new Timers(clock);
let stdin: PassThrough;
let read: Buffer[] = [];

function input(idleMs = 60_000): JobInput {
  stdin = new PassThrough();
  read = [];
  stdin.on('data', (data: Buffer) => read.push(data));
  return new JobInput(stdin, timers, idleMs, () => {});
}

const text = () => Buffer.concat(read).toString();

afterEach(() => {
  stdin?.destroy();
});

describe('the input of a job', () => {
  it('is the same whichever pieces come again', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 0, max: 30 })), { maxLength: 30 }),
        async (steps) => {
          const whole = Buffer.from(Array.from({ length: 1_000 }, (_, index) => index % 251));
          const taken = input();
          let position = 0;
          for (const [length, back] of steps) {
            const from = Math.max(0, position - back);
            ({ position } = await taken.take(from, whole.subarray(from, from + length), false));
          }
          expect(Buffer.concat(read)).toEqual(whole.subarray(0, position));
          taken.close();
        },
      ),
      { numRuns: 50 },
    );
  });

  it('has no gaps', async () => {
    const taken = input();
    await taken.take(0, Buffer.from('abc'), false);
    await expect(taken.take(4, Buffer.from('e'), false)).rejects.toMatchObject({ code: 'ERR_STARLANE_ARGUMENT' });
    expect(text()).toBe('abc');
  });

  it('ends once, at the end of the last piece', async () => {
    const taken = input();
    await taken.take(0, Buffer.from('abc'), false);
    const state = await taken.take(1, Buffer.from('bcd'), true);
    expect(state).toEqual({ position: 4, open: false });
    expect(await taken.take(1, Buffer.from('bcd'), true)).toEqual(state);
    await new Promise((resolve) => stdin.once('end', resolve));
    expect(text()).toBe('abcd');
  });

  it('waits for a program that does not read, in bounded memory, and says so after a while', async () => {
    const taken = input();
    stdin.pause();
    const first = taken.take(0, Buffer.alloc(100_000), false);
    const second = taken.take(100_000, Buffer.alloc(100_000), false);
    await expect(taken.take(200_000, Buffer.alloc(1), false)).rejects.toMatchObject({ code: 'ERR_STARLANE_JOB' });
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(INPUT_ANSWER_MS + 20);
    expect(await first).toEqual({ position: 100_000, open: true });
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(INPUT_ANSWER_MS + 20);
    // It was not taken, and is sent again.
    expect(await second).toEqual({ position: 100_000, open: true });
    stdin.resume();
    expect(await taken.take(100_000, Buffer.alloc(100_000), false)).toEqual({ position: 200_000, open: true });
  });
});

describe('the sender of input', () => {
  it('sends all of a stream, whatever part of a piece is taken', async () => {
    const source = new PassThrough();
    const whole = Buffer.from(Array.from({ length: 3_000_000 }, (_, index) => (index * 7) % 251));
    source.end(whole);
    const got: Buffer[] = [];
    let position = 0;
    let turn = 0;
    await sendInput(source, {
      sendInput: async (from, data, isLast) => {
        expect(from).toBe(position);
        const takes = turn++ % 3 === 0 ? Math.ceil(data.length / 2) : data.length;
        got.push(Buffer.from(data.subarray(0, takes)));
        position += takes;
        return { position, open: !(isLast && takes === data.length) };
      },
    });
    expect(Buffer.concat(got).equals(whole)).toBe(true);
  });

  it('ends when the program reads no more', async () => {
    const source = new PassThrough();
    source.write('some');
    await sendInput(source, { sendInput: async () => ({ position: 0, open: false }) });
    expect(source.readableEnded).toBe(false);
  });

  it('fails with its stream', async () => {
    const source = new PassThrough();
    const sent = sendInput(source, { sendInput: async () => ({ position: 0, open: true }) });
    source.destroy(new Error('unreadable'));
    await expect(sent).rejects.toThrow('unreadable');
  });
});
