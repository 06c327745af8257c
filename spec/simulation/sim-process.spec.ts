import { beforeEach, describe, expect, it } from '@jest/globals';
import { type Actor, EventLoop } from '../../bench/simulation/event-loop.js';
import { SimProcess } from '../../bench/simulation/sim-process.js';
import { Timers } from '../../lib/util/timers.js';

describe('a process of the simulation', () => {
  let loop: EventLoop;
  let process: SimProcess;
  let log: string[];
  let socket: Actor;

  beforeEach(() => {
    loop = new EventLoop();
    process = new SimProcess(loop, 1_000_000);
    log = [];
    socket = {
      onEvent(kind, payload) {
        if (process.isBusy) process.defer(socket, kind, payload);
        else log.push(`${payload} at ${loop.now}`);
      },
    };
  });

  const timer = (name: string, ms: number): unknown => process.setTimeout(() => log.push(`${name} at ${loop.now}`), ms);

  it('has its own clock, which the timers of a node use', async () => {
    const timers = new Timers(process);
    expect(timers.now()).toBe(1_000_000);
    timers.schedule(25, { onDeadline: (now) => log.push(`deadline at ${now}`) });
    await loop.run(100);
    expect(log).toEqual(['deadline at 1000030']);
  });

  it('fires timeouts in time, and none that was cleared', async () => {
    timer('first', 20);
    process.clearTimeout(timer('cleared', 10));
    await loop.run(100);
    expect(log).toEqual(['first at 20']);
  });

  it('that was blocked runs timers first, then input, then immediates', async () => {
    loop.call(10, () => process.block(1_000));
    process.setTimeout(() => {
      log.push(`timer at ${loop.now}`);
      process.setImmediate(() => log.push('immediate'));
    }, 500);
    loop.at(200, socket, 0, 'input 1');
    loop.at(300, socket, 0, 'input 2');
    await loop.run(5_000);
    expect(log).toEqual(['timer at 1010', 'input 1 at 1010', 'input 2 at 1010', 'immediate']);
    expect(process.isBusy).toBe(false);
  });

  it('runs promises between two events that it catches up with', async () => {
    process.stop();
    process.setTimeout(() => void Promise.resolve().then(() => log.push('promise')), 10);
    loop.at(20, socket, 0, 'input');
    loop.call(50, () => process.resume());
    await loop.run(100);
    expect(log).toEqual(['promise', 'input at 50']);
  });

  it('that is stopped twice continues when it has been resumed twice', async () => {
    process.stop();
    process.block(100);
    timer('late', 10);
    await loop.run(200);
    expect(log).toEqual([]);
    process.resume();
    await loop.run(1);
    expect(log).toEqual(['late at 200']);
  });

  it('keeps the order of what arrives while it catches up', async () => {
    process.block(100);
    for (let input = 0; input < 5; input++) loop.at(input, socket, 0, `input ${input}`);
    loop.at(100, socket, 0, 'input 5');
    await loop.run(200);
    expect(log.map((entry) => entry.slice(0, 7))).toEqual([0, 1, 2, 3, 4, 5].map((input) => `input ${input}`));
  });

  it('that has ended does nothing more', async () => {
    timer('never', 10);
    process.setImmediate(() => log.push('never'));
    process.end();
    timer('never', 20);
    await loop.run(100);
    expect(log).toEqual([]);
  });
});
