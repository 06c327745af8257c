// Whole nodes at the two ends of an emulated path: what delay, a deep queue and an outage do to bulk and to small messages.

import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { obstacle, Path } from '../../bench/wan/path.mjs';
import { runProgram } from '../support/built-lib.js';
import type { Child } from '../support/child.js';
import { describeUnless } from '../support/obstacle.js';

const MIB = 1024 * 1024;
const PORT = 4322;
const DEADLINE_MS = 60_000;

const COMMON = `
  import { createHash } from 'node:crypto';
  const { createNode } = starlane;
  const node = createNode({ role: 'server', insecure: true });
  // No two blocks are the same, and both ends know them.
  const block = (index) => Buffer.alloc(65_536, 'block ' + index + ' ');
  const digestOf = (blocks) => {
    const hash = createHash('sha256');
    for (let index = 0; index < blocks; index++) hash.update(block(index));
    return hash.digest('hex');
  };
  async function send(socket, blocks) {
    for (let index = 0; index < blocks; index++) {
      if (!socket.write(block(index))) await new Promise((resolve) => socket.once('drain', resolve));
    }
    socket.end();
  }
  function receive(socket) {
    const hash = createHash('sha256');
    let bytes = 0;
    let mib = 0;
    socket.on('data', (chunk) => {
      hash.update(chunk);
      bytes += chunk.length;
      while (bytes >= (mib + 1) * ${MIB}) say({ event: 'arrived', mib: ++mib });
    });
    socket.on('error', (error) => say({ event: 'error', message: error.message }));
    return new Promise((resolve) => socket.on('end', () => resolve({ bytes, digest: hash.digest('hex') })));
  }`;

/** Takes uploads, gives downloads and echoes. */
const SERVER = `${COMMON}
  node.bind('upload', async (socket) => say({ event: 'whole', ...(await receive(socket)) }));
  node.bind('download', (socket) => send(socket.resume(), ${(16 * MIB) / 65_536}));
  node.bind('echo', (socket) => socket.pipe(socket));
  await node.listenAndServe('tcp://' + ADDRESS);
  say({ event: 'up' });`;

const CLIENT = `${COMMON}
  await node.join('tcp://' + ADDRESS);
  await node.waitFor('upload');
  await node.waitFor('download');
  const blocks = ${(16 * MIB) / 65_536};`;

describeUnless(obstacle(), 'Nodes at the ends of a long path', () => {
  let path: Path;
  let children: Child[];

  beforeEach(() => {
    path = new Path();
    children = [];
  });

  afterEach(async () => {
    await Promise.all(children.map((child) => child.stop()));
    await path.stop();
  });

  function run(side: 'a' | 'b', body: string): Child {
    const address = JSON.stringify(`${path.addressOf('b')}:${PORT}`);
    const child = runProgram(body.replaceAll('ADDRESS', address), path.enter(side));
    children.push(child);
    return child;
  }

  /** How many mebibytes have arrived at least. */
  function arrived(child: Child, mib: number): Promise<unknown> {
    return child.waitFor(`${mib} MiB`, ({ event, mib: count }) => event === 'arrived' && count === mib, DEADLINE_MS);
  }

  it('lose no data in flight in either direction when the path is down for three seconds', async () => {
    await path.start({ rate: 50e6, rttMs: 40 });
    const server = run('b', SERVER);
    await server.waitFor('the listener', ({ event }) => event === 'up');
    const client = run(
      'a',
      `${CLIENT}
      say({ event: 'expected', digest: digestOf(blocks) });
      send(node.dial('upload'), blocks);
      receive(node.dial('download')).then((what) => say({ event: 'whole', ...what }));
      let beats = 0;
      setInterval(() => say({ event: 'beat', beats: ++beats }), 500);`,
    );
    await Promise.all([arrived(server, 4), arrived(client, 4)]);
    await path.set({ dark: true });
    const from = client.lines.filter(({ event }) => event === 'beat').length;
    await client.waitFor('six beats', ({ event, beats }) => event === 'beat' && beats === from + 6);
    await path.set({ dark: false });

    const { digest } = await client.waitFor('the digest', ({ event }) => event === 'expected');
    for (const child of [server, client]) {
      const whole = await child.waitFor('all of it', ({ event }) => event === 'whole', DEADLINE_MS);
      expect(whole).toMatchObject({ bytes: 16 * MIB, digest });
      expect(child.lines.filter(({ event }) => event === 'error')).toEqual([]);
    }
  }, 90_000);

  it('leave most of a deep queue empty, which a TCP socket would fill', async () => {
    await path.start({ rate: 20e6, rttMs: 40, queueBytes: 1_000_000 });
    const server = run('b', SERVER);
    await server.waitFor('the listener', ({ event }) => event === 'up');
    run('a', `${CLIENT} send(node.dial('upload'), blocks);`);
    await arrived(server, 6);
    await path.stats();
    await arrived(server, 14);
    const { mostQueuedBytes, queueDrops } = await path.stats();
    expect(mostQueuedBytes).toBeLessThan(500_000);
    expect(queueDrops).toBe(0);
  }, 60_000);
});
