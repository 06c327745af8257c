import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Socket } from '../../../lib/index.js';
import { nothingLeft, watchHandles } from '../../support/open-handles.js';
import { RelayNet } from '../../support/relay-net.js';
import { turnsUntil } from '../../support/turns.js';

const PORT = 7;

let net: RelayNet;

beforeEach(async () => {
  watchHandles();
  // As many circuits of a link may be unconfirmed as may wait for a server.
  net = await RelayNet.line(1, { node: { acceptBacklog: 2 } });
});

afterEach(async () => {
  await net.close();
  await nothingLeft();
});

function dial(): Promise<Socket> {
  const socket = net.first.dial(`@${net.last.id}:${PORT}`, { secure: true });
  return once(
    socket.on('error', () => {}),
    'connect',
  ).then(() => socket);
}

describe('Secure circuits that a server has no room for', () => {
  it('count no longer as unconfirmed than they are there', async () => {
    net.last.bind(`:${PORT}`, { maxConnections: 1 });
    const first = await dial();
    for (let time = 0; time < 5; time++) await expect(dial()).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    first.destroy();
    await once(first, 'close');
    await turnsUntil('the server has room', () => net.last.stats().servers.openSockets === 0);
    await dial();
  });
});
