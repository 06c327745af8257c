import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { nothingLeft, watchHandles } from '../../support/open-handles.js';
import { type Testnet, testnet } from '../../support/testnet.js';

const TIMEOUT_MS = 100;

let net: Testnet;
beforeEach(async () => {
  watchHandles();
  net = await testnet('tcp', { closeTimeoutMs: 100 });
});
afterEach(async () => {
  await net.close();
  await nothingLeft();
});

/** Nothing of this process runs meanwhile. */
function block(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

describe('a dial in a process that was busy beyond its deadline', () => {
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

  it('fails all the same when none has', async () => {
    const socket = net.joiner.dial('nobody', { timeoutMs: TIMEOUT_MS });
    setImmediate(() => block(2 * TIMEOUT_MS));
    const [error] = await once(socket, 'error');
    expect(error).toMatchObject({ code: 'ENOTFOUND' });
  });
});
