// One process of a run: a node with the inboxes of a receiver, the traffic of a sender, or neither. Started by run/worker.ts.

import { createNode } from '../../../lib/index.js';
import { messages } from '../../../lib/messages/index.js';
import { Random } from '../../simulation/random.js';
import { monotonicMs, type ProcessEvent } from '../events.js';
import { Journal, processFile } from '../journal.js';
import { OWN, POOL } from '../run/shape.js';
import { openKeys } from './open-keys.js';
import type { FromWorker, Start, ToWorker } from './protocol.js';
import { Receiver } from './receiver.js';
import { Sender } from './sender.js';
import { Traffic } from './traffic.js';

/** Longer than the time of any message, and than what a loaded machine adds. */
const OUTCOMES_MS = 30_000;
const PROGRESS_MS = 250;

const start = JSON.parse(process.argv[2]) as Start;
const services = new Map(start.services);
const journal = new Journal<ProcessEvent>(processFile(start.folder, start.process));
const say = (line: FromWorker): void => {
  if (process.connected) process.send?.(line, undefined, undefined, () => {});
};
// The run has ended without a word: nobody reads the journal any more.
process.on('disconnect', () => process.exit(0));

const node = createNode({
  role: 'server',
  identity: start.identity,
  ...(start.secret === undefined ? {} : { secret: start.secret }),
  rejoinMinMs: 50,
  rejoinMaxMs: 500,
  keepAliveMs: 1_500,
  keepAliveTimeoutMs: 6_000,
  closeTimeoutMs: 1_000,
});
node.on('warning', () => {});
const post = messages(node, { resumeMs: start.resumeMs });
const receiver = start.role === 'receiver' ? new Receiver(post, journal, start.process) : undefined;
const sender = start.role === 'sender' ? makeSender() : undefined;

/** What the run asks for. */
const requests: Record<ToWorker['type'], () => Promise<void>> = {
  async go() {
    if (sender === undefined) return;
    for (const operation of openKeys(start)) sender.send(operation);
    sender.start();
    setInterval(report, PROGRESS_MS).unref();
  },
  async finish() {
    const open = (await sender?.finish(OUTCOMES_MS)) ?? 0;
    await receiver?.quiet();
    journal.write({ e: 'closed', t: monotonicMs(), open, stats: post.stats() });
    report();
    say({ type: 'finished' });
  },
  /** An orderly end in the middle of everything: the promise holds for it too. */
  async quit() {
    const closed = Promise.all([post.close(), node.close()]);
    const open = (await sender?.finish(OUTCOMES_MS)) ?? 0;
    await closed;
    journal.write({ e: 'closed', t: monotonicMs(), open });
    process.exit(0);
  },
};
process.on('message', ({ type }: ToWorker) => void requests[type]());

receiver?.serve(start.name, services.get(POOL)?.includes(start.name) ?? false);
const tcp = await node.listenAndServe('tcp://127.0.0.1:0');
const tls = start.secret === undefined ? undefined : await node.listenAndServe('tls://127.0.0.1:0');
journal.write({ e: 'up', t: monotonicMs(), nodeId: node.id });
for (const address of start.joins) node.join(address).catch(() => {});
say({ type: 'up', tcp: portOf(tcp.address), tls: tls === undefined ? undefined : portOf(tls.address) });

function report(): void {
  if (sender !== undefined) say({ type: 'sent', count: sender.count, handled: sender.handled });
}

function makeSender(): Sender {
  const random = new Random(start.seed);
  const names = [...new Set([...services.values()].flat())];
  const traffic = new Traffic(random.fork(), start.process, names);
  return new Sender(node, post, traffic, journal, {
    process: start.process,
    rate: start.rate,
    services,
    serviceOf: OWN,
    random: () => random.next(),
  });
}

function portOf(address: string): number {
  return Number(address.slice(address.lastIndexOf(':') + 1));
}
