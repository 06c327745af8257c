// `starlane export` on a machine that is a member of two networks.

import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Command, Machine } from '../../support/command.js';
import { within } from '../../support/deadline.js';

/** Has the service. */
const alice = new Machine();
/** Is in the other network, and uses it. */
const bob = new Machine();
/** Is in both. */
const bridge = new Machine();
const second = join(bridge.folder, 'second');
const inSecond = { env: { STARLANE_HOME: second } };

let hello: Server;

beforeAll(async () => {
  hello = createServer((socket) => socket.end('hello'));
  await once(hello.listen(0, '127.0.0.1'), 'listening');
  const port = String((hello.address() as AddressInfo).port);
  const [one, other] = await Promise.all([
    alice.publish(['orders', '--port', port]),
    bob.publish(['own', '--port', port]),
  ]);
  const secret = alice.start(['publish', 'secrets', '--port', port]);
  await secret.waitFor(/secrets/, 'stdout');
  expect(await bridge.run(['join', one.token])).toMatchObject({ code: 0 });
  expect(await bridge.run(['join', other.token], inSecond)).toMatchObject({ code: 0 });
}, 60_000);

afterAll(async () => {
  await Promise.all([alice.dispose(), bob.dispose(), bridge.dispose()]);
  hello.close();
});

/** What bob reads from a service of his network. */
async function read(service: string): Promise<string> {
  const forward = bob.start(['forward', `0:${service}`]);
  const [, local] = await forward.waitFor(/forwarding 127\.0\.0\.1:(\d+)/, 'stdout');
  const socket = connect(Number(local), '127.0.0.1');
  let text = '';
  socket.on('data', (chunk) => {
    text += chunk;
  });
  await within('the end of the connection', once(socket, 'close'));
  await forward.stop();
  return text;
}

async function servicesOfBob(): Promise<string[]> {
  const { stdout } = await bob.run(['services', '--json']);
  return (JSON.parse(stdout) as Array<{ service: string }>).map(({ service }) => service).sort();
}

/** Follows what bob sees, from now on. */
async function watching(): Promise<Command> {
  const watch = bob.start(['watch', '--json']);
  await watch.waitFor(/"event":"hello"/, 'stdout');
  return watch;
}

/** Resolves when bob sees the service, or no longer. */
async function seen(watch: Command, service: string, event: 'service' | 'unservice'): Promise<void> {
  await watch.waitFor(new RegExp(`"${event}".*"${service}"`), 'stdout');
}

describe('starlane export', () => {
  it('offers the service in the other network, by another name, and nothing else', async () => {
    const watch = await watching();
    const command = bridge.start(['export', 'orders', '--to', second, '--as', 'shop', '--meta', 'from=alice']);
    await command.waitFor(/exporting orders to .*second as shop/, 'stdout');
    await seen(watch, 'shop', 'service');
    expect(await read('shop')).toBe('hello');
    expect(await servicesOfBob()).toEqual(['own', 'shop']);
    const { stdout } = await bridge.run(['status', '--json']);
    const { tasks } = JSON.parse(stdout) as { tasks: unknown[] };
    expect(tasks).toMatchObject([{ task: `export orders to ${second}`, as: 'shop', state: 'exported', accepted: 1 }]);
    expect(await command.stop()).toMatchObject({ code: 0 });
    await seen(watch, 'shop', 'unservice');
    await watch.stop();
  });

  it('uses the nodes that run already in both networks, and comes back when that of the other network does', async () => {
    const watch = await watching();
    const here = bridge.start(['up']);
    const there = bridge.start(['up'], inSecond);
    await Promise.all([here.waitFor(/^node .* runs/m, 'stdout'), there.waitFor(/^node .* runs/m, 'stdout')]);
    const command = bridge.start(['export', 'orders', '--to', second]);
    await seen(watch, 'orders', 'service');
    expect(await read('orders')).toBe('hello');
    const again = await watching();
    await there.stop('SIGKILL');
    await seen(watch, 'orders', 'unservice');
    expect(await servicesOfBob()).toEqual(['own']);
    await seen(again, 'orders', 'service');
    expect(await read('orders')).toBe('hello');
    expect(await command.stop()).toMatchObject({ code: 0 });
    await Promise.all([here.stop(), watch.stop(), again.stop()]);
  });

  it.each([
    [['export', 'orders'], /needs --to/, 2],
    [['export', ':16', '--to', '.'], /must be the name of a service/, 2],
    [['export', 'orders', '--to', 'nowhere'], /there is no such folder/, 5],
  ])('refuses %j', async (args, message, code) => {
    const result = await bridge.run(args);
    expect(result).toMatchObject({ code, stderr: expect.stringMatching(message) });
  });

  it('refuses the network of the service itself', async () => {
    const result = await bridge.run(['export', 'orders', '--to', join(bridge.folder, 'home')]);
    expect(result.stderr).toMatch(/that is the network of the service itself/);
    expect(result.code).toBe(2);
  });
});
