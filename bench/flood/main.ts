// npm run bench:flood: echoes between two nodes, alone and while a member of their network sends one of them records of new
// nodes, each well signed, as fast as it takes them. Each of the three is a process of its own. What a node limits is how long a turn of
// its event loop spends on what such a member says; a limit that ends the link of the member is part of that.

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { createIdentity } from '../../lib/identity/identity.js';
import { createNode } from '../../lib/index.js';
import { within } from '../../spec/support/deadline.js';
import { HostileMember } from '../../spec/support/hostile-member.js';
import { percentileOf, sortedOf } from '../simulation/percentile.js';

const SECRET = 'the secret of a network that is flooded';
const CALM_MS = 5_000;
const FLOOD_MS = 10_000;
/** Records are made ahead of time, since making one costs more than checking it; then they are sent again in turn. */
const RECORDS = 20_000;
const ECHOES = 10;
const DEADLINE_MS = 120_000;

interface Latency {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly most: number;
}

const [role, address = ''] = process.argv.slice(2);

if (role === 'server') await serve();
else if (role === 'client') await measure(address);
else if (role === 'member') await flood(address);
else await main();

async function main(): Promise<void> {
  const self = fileURLToPath(import.meta.url);
  const children: ChildProcess[] = [];
  const start = (...args: string[]): ChildProcess => {
    const child = fork(self, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    children.push(child);
    return child;
  };
  const received = async (child: ChildProcess): Promise<unknown> => {
    const message = once(child, 'message').then(([first]) => first);
    const gone = once(child, 'exit').then(([code]) => Promise.reject(new Error(`a process ended with ${code}`)));
    return within('a message of a process', Promise.race([message, gone]), DEADLINE_MS);
  };
  try {
    const { address } = (await received(start('server'))) as { address: string };
    const member = start('member', address);
    await received(member); // The records are made.
    const client = start('client', address);
    await received(client); // The calm phase has ended.
    const isOver = once(member, 'exit');
    member.send('flood');
    const { calm, flooded } = (await received(client)) as { calm: Latency; flooded: Latency };
    member.kill();
    await isOver;
    const row = (what: string, { count, p50, p99, most }: Latency): string =>
      `| ${what} | ${count} | ${p50.toFixed(2)} | ${p99.toFixed(2)} | ${most.toFixed(1)} |`;
    console.log('| echoes | measured | p50, ms | p99, ms | longest, ms |\n| --- | ---: | ---: | ---: | ---: |');
    console.log(`${row('alone', calm)}\n${row('while a member floods records', flooded)}`);
  } finally {
    for (const child of children) child.kill();
  }
}

async function serve(): Promise<void> {
  const node = createNode({ secret: SECRET });
  node.on('warning', ({ message }) => console.error(message));
  node.bind('echo', (socket) => socket.on('error', () => {}).pipe(socket));
  const { address } = await node.listenAndServe('tcp://127.0.0.1:0');
  process.send?.({ address });
}

async function measure(address: string): Promise<void> {
  const node = createNode({ secret: SECRET });
  await node.join(address);
  await node.waitFor('echo');
  await echoFor(1_000);
  const calm = await echoFor(CALM_MS);
  process.send?.('calm');
  const flooded = await echoFor(FLOOD_MS);
  process.send?.({ calm, flooded });

  async function echoFor(ms: number): Promise<Latency> {
    const end = performance.now() + ms;
    const times: number[] = [];
    await Promise.all(
      Array.from({ length: ECHOES }, async () => {
        const socket = node.dial('echo');
        await once(socket, 'connect');
        while (performance.now() < end) {
          const begin = performance.now();
          socket.write('sixteen bytes...');
          await once(socket, 'data');
          times.push(performance.now() - begin);
          await new Promise((resolve) => setTimeout(resolve, 1));
        }
        socket.destroy();
      }),
    );
    const sorted = sortedOf(times);
    const at = (percent: number): number => percentileOf(sorted, percent);
    return { count: times.length, p50: at(50), p99: at(99), most: at(100) };
  }
}

async function flood(address: string): Promise<void> {
  const records = Array.from({ length: RECORDS }, () => {
    const { publicKey, bootId, sign } = createIdentity();
    return HostileMember.nodeOf({ publicKey, bootId }, sign);
  });
  process.send?.('ready');
  await once(process, 'message');
  let [sent, links] = [0, 0];
  for (;;) {
    const member = await HostileMember.at(address, SECRET).catch(() => undefined);
    if (member === undefined) break;
    links++;
    while (member.ended === undefined) {
      const from = sent % RECORDS;
      member.publish(records.slice(from, from + 200));
      sent += 200;
      await new Promise(setImmediate);
      while (member.socket.writableNeedDrain && member.ended === undefined) await new Promise(setImmediate);
    }
    console.error(
      `the member has sent ${sent} records over ${links} links; the last one ended by ${member.ended.error?.message ?? 'GOODBYE'}`,
    );
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
