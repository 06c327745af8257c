import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { obstacle, Path, type Side } from '../../bench/wan/path.mjs';
import { describeUnless } from '../support/obstacle.js';

const RTT_MS = 60;
const PORT = 4321;

const LISTEN = `
  require('node:net').createServer((socket) => socket.pipe(socket)).listen(${PORT}, process.argv[1], () => console.log('up'));`;

/** Prints after how many ms a byte is back, and then sends the next one. */
const PING = `
  const socket = require('node:net').connect(${PORT}, process.argv[1]);
  let from;
  const ping = () => { from = performance.now(); socket.write('x'); };
  socket.once('connect', ping);
  socket.on('data', () => { console.log(performance.now() - from); setTimeout(ping, 10); });`;

/** Is its namespace there? */
async function enters(path: Path): Promise<boolean> {
  const [command, ...args] = [...path.enter('a'), 'true'];
  const [code] = await once(spawn(command!, args, { stdio: 'ignore' }), 'exit');
  return code === 0;
}

describeUnless(obstacle(), 'an emulated path', () => {
  let path: Path;
  let processes: ChildProcess[];

  beforeEach(() => {
    path = new Path();
    processes = [];
  });

  afterEach(async () => {
    for (const child of processes) child.kill('SIGKILL');
    await path.stop();
  });

  function run(side: Side, script: string): AsyncIterator<Buffer> {
    const [command, ...args] = [...path.enter(side), process.execPath, '-e', script, path.addressOf('b')];
    const child = spawn(command!, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    processes.push(child);
    return child.stdout[Symbol.asyncIterator]();
  }

  async function next(lines: AsyncIterator<Buffer>): Promise<number> {
    return Number.parseFloat(String((await lines.next()).value));
  }

  it('takes a round trip, the new one after a change, and lets nothing pass while it is down', async () => {
    await path.start({ rate: 10e6, rttMs: RTT_MS });
    await run('b', LISTEN).next();
    const trips = run('a', PING);
    expect(await next(trips)).toBeGreaterThanOrEqual(RTT_MS);

    await path.set({ rttMs: 4 * RTT_MS });
    await next(trips); // it may have been on its way
    expect(await next(trips)).toBeGreaterThanOrEqual(4 * RTT_MS);

    await path.set({ dark: true });
    const first = next(trips).then(() => next(trips)); // one byte may be beyond the path already
    // The emulated path is real time, and silence has no event.
    const nothing = new Promise((resolve) => setTimeout(resolve, 10 * RTT_MS, 'nothing'));
    expect(await Promise.race([first, nothing])).toBe('nothing');
    expect(await path.stats()).toMatchObject({ queueDrops: 0, packets: expect.any(Number) });
  });

  it('removes the namespaces when it is stopped', async () => {
    await path.start({ rate: 10e6, rttMs: RTT_MS });
    expect(await enters(path)).toBe(true);
    await path.stop();
    await expect(path.set({ dark: true })).rejects.toThrow();
    expect(await enters(path)).toBe(false);
  });
});
