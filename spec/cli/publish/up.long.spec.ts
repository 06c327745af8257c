// Services of a configuration file: starlane up, and SIGHUP.

import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import net, { type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from '@jest/globals';
import { type Caller, callerWith, until } from '../../support/caller.js';
import { type Command, Machine } from '../../support/command.js';
import { within } from '../../support/deadline.js';
import { forgets, knows, readToEnd } from '../../support/testnet.js';

const ends: Array<() => unknown> = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

function machine(): Machine {
  const made = new Machine();
  ends.push(() => made.dispose());
  return made;
}

async function listen(onSocket: (socket: net.Socket) => void): Promise<number> {
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    onSocket(socket);
  });
  ends.push(() => server.close());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return (server.address() as AddressInfo).port;
}

async function up(
  here: Machine,
  write: (text: string) => void,
  text: string,
): Promise<{ command: Command; caller: Caller }> {
  write(text);
  await here.run(['init', '--name', 'first']);
  const command = here.start(['up']);
  await command.waitFor(/runs, and listens at/, 'stdout');
  const { stdout } = await here.run(['invite']);
  const caller = await callerWith(stdout.trim());
  ends.push(() => caller.close());
  return { command, caller };
}

async function ask({ node }: Caller, service: string): Promise<string> {
  const socket = node.dial(service, { allowHalfOpen: true });
  socket.end();
  return (await within(`the answer of ${service}`, readToEnd(socket))).toString();
}

describe('services of a file', () => {
  it('change with SIGHUP, and a download through another one goes on without a byte lost', async () => {
    const here = machine();
    const write = (text: string) => writeFileSync(join(here.folder, 'starlane.yaml'), text);
    let download: net.Socket | undefined;
    const big = await listen((socket) => {
      download = socket;
    });
    const one = await listen((socket) => socket.end('one'));
    const two = await listen((socket) => socket.end('two'));
    const listening = 'listen: tls://127.0.0.1:0\n';
    const text = (rest: string) => `${listening}publish:\n  big: { port: ${big} }\n${rest}`;
    const { command, caller } = await up(
      here,
      write,
      text(`  web: { port: ${one}, meta: [version=1] }\n  gone: { port: ${two}, check: tcp, interval: 100ms }\n`),
    );
    const { node } = caller;
    for (const service of ['big', 'web', 'gone']) await within(service, knows(node, service));
    expect([await ask(caller, 'web'), await ask(caller, 'gone')]).toEqual(['one', 'two']);
    const socket = node.dial('big', { allowHalfOpen: true });
    const all = readToEnd(socket);
    const source = await until('the download', () => download);
    const chunks = Array.from({ length: 60 }, (_, index) => Buffer.alloc(100_000, index));
    for (const chunk of chunks.slice(0, 20)) source.write(chunk);

    // Another target and other metadata, one service less and one more; and `big` has another weight.
    write(
      `${listening}publish:\n  big: { port: ${big}, weight: 9 }\n  web: { port: ${two}, meta: [version=2] }\n  new: { command: 'exec ${process.execPath} -e "require(\\"node:net\\").createServer((socket) => socket.end(\\"new\\")).listen(process.env.PORT)"' }\n`,
    );
    command.signal('SIGHUP');
    await command.waitFor(/reloaded the configuration/, 'stderr');
    for (const chunk of chunks.slice(20, 40)) source.write(chunk);
    await within('the end of a service', forgets(node, 'gone'));
    await within('the new service', knows(node, 'new'));
    expect([await ask(caller, 'web'), await ask(caller, 'new')]).toEqual(['two', 'new']);
    await until('the new weight and the new meta', () => {
      const by = new Map(node.services().map((info) => [info.service, info]));
      return by.get('big')?.weight === 9 && (by.get('web')?.meta as { version: string })?.version === '2';
    });
    const { stdout } = await here.run(['status', '--json']);
    expect(JSON.parse(stdout).tasks).toMatchObject([
      { task: 'publish big', open: 1 },
      { task: 'publish web' },
      { task: 'publish new', program: 'running', state: 'published' },
    ]);

    // A fault in the file changes nothing.
    write(text('  web: { port: none }\n'));
    command.signal('SIGHUP');
    await command.waitFor(/error: .*starlane\.yaml:4: publish\.web\.port/, 'stderr');
    expect(await ask(caller, 'web')).toBe('two');
    for (const chunk of chunks.slice(40)) source.write(chunk);
    source.end();
    socket.end();
    expect((await within('the download', all)).equals(Buffer.concat(chunks))).toBe(true);
    expect(await command.stop()).toMatchObject({ code: 0 });
  });

  it('stop with what is open: no new dials, and a stream that goes on comes to its end', async () => {
    const here = machine();
    let local: net.Socket | undefined;
    const port = await listen((socket) => {
      local = socket;
    });
    const { command, token } = await here.publish(['web', '--port', String(port)]);
    const caller = await callerWith(token);
    ends.push(() => caller.close());
    const socket = caller.node.dial('web', { allowHalfOpen: true });
    const all = readToEnd(socket);
    const source = await until('the connection', () => local);
    source.write('before, ');
    await within('the first bytes', once(socket, 'data'));
    command.signal('SIGTERM');
    await within('the end of the service', forgets(caller.node, 'web'));
    source.end('and after');
    socket.end();
    expect((await within('the rest', all)).toString()).toMatch(/and after$/);
    expect(await command.finish()).toMatchObject({ code: 0 });
  });

  it('have their streams cut when the time for them is over', async () => {
    const here = machine();
    const port = await listen(() => {});
    const { command, token } = await here.publish(['web', '--port', String(port), '--drain-timeout', '300ms']);
    const caller = await callerWith(token);
    ends.push(() => caller.close());
    const socket = caller.node.dial('web');
    await within('the circuit', once(socket, 'connect'));
    const failed = once(socket, 'error');
    const { code } = await command.stop();
    const [error] = (await within('the reset', failed)) as [NodeJS.ErrnoException];
    expect([code, error.code]).toEqual([0, 'ECONNRESET']);
  });
});
