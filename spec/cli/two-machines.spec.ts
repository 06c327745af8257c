// What a newcomer does: one command on each of two machines.

import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import { Machine } from '../support/command.js';

const machines: Machine[] = [];
const servers: net.Server[] = [];
const machine = () => {
  const made = new Machine();
  machines.push(made);
  return made;
};

afterEach(async () => {
  await Promise.all(machines.splice(0).map((one) => one.dispose()));
  for (const server of servers.splice(0)) server.close();
});

async function echo(): Promise<net.Server> {
  const server = net.createServer((socket) => socket.pipe(socket));
  servers.push(server);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return server;
}

describe('publish on one machine, forward on another', () => {
  it('connects a port with a service, and both end with code 0', async () => {
    const server = await echo();
    const { port } = server.address() as AddressInfo;
    const { command: publish, token } = await machine().publish(['echo', '--port', String(port)]);
    const forward = machine().start(['forward', '0:echo', '--join', token]);
    const [, local] = await forward.waitFor(/127\.0\.0\.1:(\d+)/, 'stdout');
    const socket = net.connect(Number(local), '127.0.0.1');
    socket.write('hello');
    expect(String((await once(socket, 'data'))[0])).toBe('hello');
    socket.destroy();
    expect(await forward.stop()).toMatchObject({ code: 0 });
    expect(await publish.stop()).toMatchObject({ code: 0 });
  });
});
