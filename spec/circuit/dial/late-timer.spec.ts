// A process that is blocked for longer than a dial may take: the answer has arrived meanwhile, and timers come ahead of input in a
// turn of the event loop.

import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { createNode, type Node } from '../../../lib/index.js';
import { runProgram } from '../../support/built-lib.js';
import type { Child } from '../../support/child.js';
import { within } from '../../support/deadline.js';

let node: Node;
let child: Child | undefined;
beforeEach(() => {
  node = createNode({ closeTimeoutMs: 100 });
});
afterEach(async () => {
  await child?.stop();
  await node.close();
});

it('a dial whose answer is there counts as in time, though its timer is due first', async () => {
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
