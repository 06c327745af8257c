// A process that is blocked for longer than a dial may take. Timers come ahead of input in a turn of the event loop, so an answer that
// has arrived meanwhile must still count as in time.

import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createNode, type Node } from '../../../lib/index.js';
import { runProgram } from '../../support/built-lib.js';
import type { Child } from '../../support/child.js';
import { within } from '../../support/deadline.js';
import { nothingLeft, watchHandles } from '../../support/open-handles.js';
import { type Testnet, testnet } from '../../support/testnet.js';

const TIMEOUT_MS = 100;

/** Blocks the process. */
function block(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

describe('a dial in a process that was busy beyond its deadline', () => {
  let net: Testnet;
  beforeEach(async () => {
    watchHandles();
    net = await testnet('tcp', { closeTimeoutMs: 100 });
  });
  afterEach(async () => {
    await net.close();
    await nothingLeft();
  });

  it('takes the reply that has arrived meanwhile', async () => {
    net.listener.bind('echo', (socket) => {
      socket.pipe(socket);
      // By then the reply is with the kernel, and the next turn begins with the timers that are due.
      setImmediate(() => block(2 * TIMEOUT_MS));
    });
    await net.joiner.waitFor('echo');
    const socket = net.joiner.dial('echo', { timeoutMs: TIMEOUT_MS });
    await once(socket, 'connect');
    socket.destroy();
  });

  it('fails when no reply has arrived', async () => {
    const socket = net.joiner.dial('nobody', { timeoutMs: TIMEOUT_MS });
    setImmediate(() => block(2 * TIMEOUT_MS));
    const [error] = await once(socket, 'error');
    expect(error).toMatchObject({ code: 'ENOTFOUND' });
  });
});

describe('a dial in a process that was busy for much longer than its deadline', () => {
  let node: Node;
  let child: Child | undefined;
  beforeEach(() => {
    node = createNode({ closeTimeoutMs: 100 });
  });
  afterEach(async () => {
    await child?.stop();
    await node.close();
  });

  it('takes the answer that is there, though its timer is due first', async () => {
    const { address } = await node.listenAndServe('tcp://127.0.0.1:0');
    node.bind('echo', (socket) => socket.on('error', () => {}).pipe(socket));
    child = runProgram(`
      import { once } from 'node:events';
      const node = starlane.createNode();
      await node.join(${JSON.stringify(address)});
      await node.waitFor('echo');
      const socket = node.dial('echo', { timeoutMs: 500 });
      socket.on('error', ({ code }) => say({ code }));
      socket.on('connect', () => { say({ connected: true }); process.exit(); });
      // The OPEN leaves with the end of this turn; then nothing runs until long after the timeout.
      setImmediate(() => {
        const end = performance.now() + 2_500;
        while (performance.now() < end);
      });`);
    await within('the end of the program', child.exited);
    expect(child.lines).toEqual([{ connected: true }]);
  });
});
