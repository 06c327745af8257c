// Subscribers in processes of their own that are killed, or stopped and continued, while others publish.

import { afterEach, describe, expect, it } from '@jest/globals';
import { builtUrl, runProgram } from '../../support/built-lib.js';
import type { Child } from '../../support/child.js';
import { known, TopicNet } from '../../support/topic-net.js';

let net = new TopicNet();
const children: Child[] = [];

afterEach(async () => {
  await Promise.all(children.splice(0).map((child) => child.stop()));
  await net.close();
});

/** A process that subscribes and says every message that it has handled. */
function subscriber(address: string, options: object, handlerMs = 0): Child {
  const child = runProgram(`
    const { topics } = await import(${JSON.stringify(builtUrl('messages/index.js'))});
    const node = starlane.createNode({ rejoinMinMs: 20 });
    node.on('warning', () => {});
    await node.join(${JSON.stringify(address)});
    topics(node).subscribe('work', ${JSON.stringify(options)}, async ({ data }) => {
      if (${handlerMs} > 0) await new Promise((resolve) => setTimeout(resolve, ${handlerMs}));
      say({ event: 'handled', data });
    });
    topics(node).subscribe('end', () => say({ event: 'end' }));
    say({ event: 'up' });
  `);
  children.push(child);
  return child;
}

const handledBy = (child: Child): number[] =>
  child.lines.filter(({ event }) => event === 'handled').map(({ data }) => data as number);
const range = (to: number): number[] => Array.from({ length: to }, (_, index) => index);

async function publisherWith(count: number, options: object, handlerMs = 0, nodeOptions = {}, resumeMs = 1_000) {
  net = new TopicNet();
  const publisher = await net.add(nodeOptions, { resumeMs });
  const { address } = await publisher.node.listenAndServe('tcp://127.0.0.1:0');
  const those = range(count).map(() => subscriber(address, options, handlerMs));
  await Promise.all(those.map((child) => child.waitFor('up', ({ event }) => event === 'up', 60_000)));
  await known(publisher, 'work', count);
  await known(publisher, 'end', count);
  return { publisher, those };
}

describe('a subscriber process', () => {
  it('that is stopped and continued gets everything, once and in order', async () => {
    const options = { keepAliveMs: 200, keepAliveTimeoutMs: 600 };
    const { publisher, those } = await publisherWith(1, {}, 0, options, 60_000);
    const [child] = those;
    for (const number of range(500)) publisher.bus.publish('work', number);
    await publisher.bus.flush({ timeoutMs: 30_000 });
    const lost = new Promise((resolve) => publisher.node.once('unlink', resolve));
    child.kill('SIGSTOP');
    for (const number of range(500)) publisher.bus.publish('work', 500 + number);
    await lost;
    for (const number of range(500)) publisher.bus.publish('work', 1_000 + number);
    child.kill('SIGCONT');
    await publisher.bus.flush({ timeoutMs: 60_000 });
    await child.waitFor('the last', ({ data }) => data === 1_499, 60_000);
    expect(handledBy(child)).toEqual(range(1_500));
  }, 180_000);

  it.each([false, true])(
    'of a queue group that is killed leaves the rest to the others (redeliver: %s)',
    async (redeliver) => {
      const { publisher, those } = await publisherWith(3, { queue: 'q', redeliver, maxPending: 20 }, 2);
      // All circuits are up after these: else one member might get nearly everything, and take it with it.
      for (const number of range(30)) publisher.bus.publish('work', -1 - number);
      await publisher.bus.flush({ timeoutMs: 60_000 });
      const total = 600;
      for (const number of range(total)) {
        publisher.bus.publish('work', number);
        if (number === 200) those[0].kill();
        if (number % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      await publisher.bus.flush({ timeoutMs: 60_000 });
      publisher.bus.publish('end');
      await Promise.all(
        those.slice(1).map((child) => child.waitFor('the end', ({ event }) => event === 'end', 60_000)),
      );
      const handled = those.flatMap(handledBy).filter((number) => number >= 0);
      const distinct = new Set(handled);
      if (redeliver) expect([...distinct].sort((a, b) => a - b)).toEqual(range(total));
      else {
        // At most once: what that one had got is lost, and nothing else is.
        expect(distinct.size).toBe(handled.length);
        expect(distinct.size).toBeGreaterThan(total / 2);
      }
    },
    180_000,
  );
});
