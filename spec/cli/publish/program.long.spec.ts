// starlane publish with a program behind --, as processes.

import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from '@jest/globals';
import type { Node } from '../../../lib/index.js';
import { type Caller, callerWith, isRunning, until } from '../../support/caller.js';
import { Machine } from '../../support/command.js';
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

async function caller(token: string): Promise<Caller> {
  const made = await callerWith(token);
  ends.push(() => made.close());
  return made;
}

/** A program that answers each connection with what it is asked for, once it knows: pid, env or args. */
const SERVER = `
const net = require('node:net');
const { PORT, HOST } = process.env;
console.log('listens at', PORT);
console.error('a line on standard error');
net.createServer((socket) => {
  socket.on('error', () => {});
  socket.once('data', (chunk) => {
    const what = String(chunk);
    if (what === 'exit') process.exit(3);
    const answers = { pid: process.pid, env: process.env, args: process.argv.slice(2) };
    socket.end(JSON.stringify(answers[what]));
  });
}).listen(PORT, HOST);
`;

function script(here: Machine, text = SERVER, name = 'server.cjs'): string {
  const path = join(here.folder, name);
  mkdirSync(here.folder, { recursive: true });
  writeFileSync(path, text);
  return path;
}

async function ask(node: Node, what: string, service = 'web'): Promise<unknown> {
  const socket = node.dial(service, { allowHalfOpen: true });
  socket.end(what);
  return JSON.parse((await within(`the answer to ${what}`, readToEnd(socket))).toString());
}

describe('a published program', () => {
  it('has a port of its own, and its lines in the log', async () => {
    const here = machine();
    const path = script(here);
    const { command } = await publishWith(here, ['web', '--', process.execPath, path], {});
    await command.waitFor(/^web \| listens at \d+$/m, 'stderr');
    await command.waitFor(/^web \| a line on standard error$/m, 'stderr');
    expect(command.stdout).not.toMatch(/listens at/);
  });

  it('is started again when it has ended, with back-off, and on the same port', async () => {
    const here = machine();
    const { command, token } = await publishWith(here, ['web', '--', process.execPath, script(here)], {});
    const { node } = await caller(token);
    await within('the service', knows(node, 'web'));
    const first = (await ask(node, 'pid')) as number;
    process.kill(first, 'SIGKILL');
    await within('the end of the service', forgets(node, 'web'));
    await command.waitFor(
      /publish web: the program has ended: SIGKILL; it starts again in (?:0\.[5-9]|1\.0) s/,
      'stderr',
    );
    await within('the service', knows(node, 'web'));
    const second = (await ask(node, 'pid')) as number;
    expect(second).not.toBe(first);
    const socket = node.dial('web');
    socket.on('error', () => {});
    socket.write('exit');
    await command.waitFor(/the program has ended: exit code 3; it starts again in (?:1\.\d|2\.0) s/, 'stderr');
    const { stdout } = await here.run(['status', '--json']);
    expect(JSON.parse(stdout).tasks).toMatchObject([{ task: 'publish web', restarts: 2 }]);
    const ports = new Set([...command.stderr.matchAll(/web \| listens at (\d+)/g)].map(([, port]) => port));
    expect(ports.size).toBe(1);
  });

  it('gets only what it may know', async () => {
    const here = machine();
    const secret = join(here.folder, 'x');
    const env = { STARLANE_SECRET_OF_MINE: 'hidden', STARLANE_TIMEOUT: '9s', OWN: 'kept' };
    const line = [process.execPath, script(here), secret, 'port {port}'];
    const { token } = await publishWith(here, ['web', '--pass-env', 'STARLANE_TIMEOUT', '--', ...line], env);
    const { node } = await caller(token);
    await within('the service', knows(node, 'web'));
    const got = (await ask(node, 'env')) as Record<string, string>;
    expect(got).toMatchObject({ OWN: 'kept', STARLANE_TIMEOUT: '9s', HOST: '127.0.0.1', PORT: expect.any(String) });
    expect(Object.keys(got).filter((name) => name.startsWith('STARLANE_'))).toEqual(['STARLANE_TIMEOUT']);
    expect(await ask(node, 'args')).toEqual([secret, `port ${got['PORT']}`]);
  });

  it('ends with the command, also when it has started others and ignores SIGTERM', async () => {
    const here = machine();
    const stubborn = `
      process.on('SIGTERM', () => console.log('not now'));
      const { spawn } = require('node:child_process');
      const child = spawn(process.execPath, ['-e', 'process.on("SIGTERM", () => {}); setInterval(() => {}, 1e6); console.log("ready")'], { stdio: ['ignore', 'pipe', 'ignore'] });
      child.stdout.once('data', () => { console.log('pids', process.pid, child.pid); require('node:net').createServer().listen(process.env.PORT); });
    `;
    const path = script(here, stubborn);
    const { command } = await publishWith(here, ['web', '--stop-timeout', '300ms', '--', process.execPath, path], {});
    const [, parent, child] = await command.waitFor(/pids (\d+) (\d+)/, 'stderr');
    await command.waitFor(/is healthy/, 'stderr');
    expect(await command.stop()).toMatchObject({ code: 0 });
    expect(command.stderr).toMatch(/web \| not now/);
    expect([await isRunning(Number(parent)), await isRunning(Number(child))]).toEqual([false, false]);
  });

  it('may take its time after SIGTERM, and so may what a shell has started', async () => {
    const here = machine();
    const done = join(here.folder, 'done');
    const slow = `
      process.on('SIGTERM', () => setTimeout(() => { require('node:fs').writeFileSync(${JSON.stringify(done)}, 'done'); process.exit(0); }, 300));
      require('node:net').createServer().listen(process.env.PORT);
    `;
    const line = `${process.execPath} ${script(here, slow)} & wait`;
    const { command } = await publishWith(here, ['web', '--command', line], {});
    await command.waitFor(/is healthy/, 'stderr');
    expect(await command.stop()).toMatchObject({ code: 0 });
    expect(readFileSync(done, 'utf8')).toBe('done');
  });

  it('is no orphan when the command is killed', async () => {
    const here = machine();
    const { command, token } = await publishWith(here, ['web', '--', process.execPath, script(here)], {});
    const { node } = await caller(token);
    await within('the service', knows(node, 'web'));
    const pid = (await ask(node, 'pid')) as number;
    await command.stop('SIGKILL');
    await until('the end of the program', async () => !(await isRunning(pid)));
  });

  it('ends the command with its exit code when it is not to be started again', async () => {
    const failing = machine();
    const never = failing.start([
      'publish',
      'web',
      '--restart',
      'never',
      '--',
      process.execPath,
      '-e',
      'process.exit(7)',
    ]);
    expect(await never.finish()).toMatchObject({ code: 7 });
    expect(never.stderr).toMatch(/publish web: the program has ended: exit code 7\n/);
    const fine = machine();
    const onFailure = fine.start(['publish', 'web', '--restart', 'on-failure', '--command', 'exit 0']);
    expect(await onFailure.finish()).toMatchObject({ code: 0 });
  });

  it('must be there', async () => {
    const here = machine();
    const command = here.start(['publish', 'web', '--', 'no-such-program-here']);
    const { code, stderr, stdout } = await command.finish();
    expect({ code, stdout }).toEqual({ code: 5, stdout: '' });
    expect(stderr).toBe('starlane: publish web: cannot start no-such-program-here: there is no such program\n');
  });

  it('is not disturbed by checks: they end as a client does, without a reset', async () => {
    const here = machine();
    // It says something at once, and has no handler for errors, as careless programs do.
    const careless = `
      let count = 0;
      require('node:net').createServer((socket) => {
        socket.write('x'.repeat(100));
        setTimeout(() => socket.end('bye'), 20);
        socket.once('close', () => console.log('check', ++count));
      }).listen(process.env.PORT, '127.0.0.1');
    `;
    const args = ['web', '--interval', '10ms', '--', process.execPath, script(here, careless)];
    const { command } = await publishWith(here, args, {});
    await command.waitFor(/web \| check 30$/m, 'stderr');
    expect(command.stderr).not.toMatch(/has ended|unhealthy/);
  });

  it('is published when it listens, and not before', async () => {
    const here = machine();
    const gate = net.createServer();
    ends.push(() => gate.close());
    await once(gate.listen(0, '127.0.0.1'), 'listening');
    const { port } = gate.address() as net.AddressInfo;
    const started = once(gate, 'connection');
    const late = `require('node:net').connect(${port}).once('end', () => require('node:net').createServer((socket) => socket.end('1')).listen(process.env.PORT, '127.0.0.1')).resume();`;
    const { command, token } = await publishWith(here, ['web', '--', process.execPath, script(here, late)], {});
    const [held] = (await within('the program', started)) as [net.Socket];
    await command.waitFor(/waits for 127\.0\.0\.1:\d+ \(ECONNREFUSED\)/, 'stderr');
    const { node } = await caller(token);
    expect(node.serviceMap().has('web')).toBe(false);
    held.end();
    await within('the service', knows(node, 'web'));
    expect(await ask(node, 'x')).toBe(1);
  });
});

async function publishWith(here: Machine, args: readonly string[], env: Record<string, string>) {
  const at = args.includes('--') ? args.indexOf('--') : args.length;
  const all = [...args.slice(0, at), '--listen', 'tls://127.0.0.1:0', '--invite', ...args.slice(at)];
  const command = here.start(['publish', ...all], { env });
  const [token] = await command.waitFor(/starlane1\.[\w-]+/, 'stdout');
  return { command, token };
}
