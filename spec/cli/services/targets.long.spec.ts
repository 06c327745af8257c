// What a forwarded port leads to: a service that `-R` offers, the next of several services, and one instance.

import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Command, Machine } from '../../support/command.js';
import { within } from '../../support/deadline.js';

const server = new Machine();
const laptop = new Machine();
let hello: Server;
let port: number;
let token: string;

beforeAll(async () => {
  hello = createServer((socket) => socket.end('hello'));
  await once(hello.listen(0, '127.0.0.1'), 'listening');
  ({ port } = hello.address() as AddressInfo);
  ({ token } = await server.publish(['web-v1', '--port', String(port), '--instance', 'a']));
});

afterAll(async () => {
  await Promise.all([server.dispose(), laptop.dispose()]);
  hello.close();
});

/** What comes from the port that a forward has printed. */
async function read(forward: Command): Promise<string> {
  const [, local] = await forward.waitFor(/forwarding 127\.0\.0\.1:(\d+)/, 'stdout');
  const socket = connect(Number(local), '127.0.0.1');
  let text = '';
  socket.on('data', (chunk) => {
    text += chunk;
  });
  await within('the end of the connection', once(socket, 'close'));
  return text;
}

describe('a forwarded port', () => {
  it('leads to what another machine offers with -R', async () => {
    const offer = laptop.start(['forward', '-R', `far:127.0.0.1:${port}`, '--join', token]);
    await offer.waitFor(/^offering far:/m, 'stdout');
    const forward = server.start(['forward', '0:far']);
    expect(await read(forward)).toBe('hello');
    await Promise.all([offer.stop(), forward.stop()]);
  });

  it.each(['web-v2,web-v1', 'web-v1=1', 'a.web-v1'])('leads to %s', async (target) => {
    const forward = server.start(['forward', `0:${target}`]);
    expect(await read(forward)).toBe('hello');
    expect(await forward.stop()).toMatchObject({ code: 0 });
  });
});
