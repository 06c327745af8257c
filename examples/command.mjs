// Two machines without code of your own: `starlane up` on each, with a file. This program plays both machines, and looks at the result.
//
//   node examples/command.mjs

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const main = fileURLToPath(new URL('dist/cli/main.js', import.meta.resolve('starlane/package.json')));
const home = mkdtempSync(join(tmpdir(), 'starlane-command-'));

/** A machine is a folder here: what the command keeps is in it, and so are unix sockets. */
function machine(name) {
  const cwd = join(home, name);
  mkdirSync(cwd);
  const env = { ...process.env, STARLANE_HOME: join(cwd, 'state'), STARLANE_RUN: join(cwd, 'run') };
  const file = fileURLToPath(new URL(`command/${name}.yaml`, import.meta.url));
  return {
    cwd,
    /** Runs a command to its end, and returns its answer. Rejects when the exit code is not 0. */
    async run(...args) {
      const { stdout } = await promisify(execFile)(process.execPath, [main, ...args, '--json'], { cwd, env });
      return JSON.parse(stdout);
    },
    /** Starts `starlane up`, and waits for the line that says that it runs. */
    async up(...args) {
      const line = ['up', '--config', file, '--log-level', 'warn', ...args];
      const child = spawn(process.execPath, [main, ...line], { cwd, env, stdio: ['ignore', 'pipe', 'inherit'] });
      await Promise.race([once(createInterface(child.stdout), 'line'), once(child, 'exit')]);
      return child;
    },
  };
}

// The first machine makes a network, and publishes what a program serves at a unix socket.
const server = machine('server');
const site = http.createServer((request, response) => response.end(`you asked for ${request.url}`));
site.listen(join(server.cwd, 'web.sock'));
await server.run('init');
const serverNode = await server.up();

// A token, which a person would copy, makes the second machine a member.
const { token } = await server.run('invite', 'laptop');
const laptop = machine('laptop');
const laptopNode = await laptop.up('--join', token);

/** Asks over a socket on the laptop. */
async function get(socket, host) {
  const socketPath = join(laptop.cwd, socket);
  const request = http.get({ socketPath, path: '/news', headers: { host }, agent: false });
  const [response] = await once(request, 'response');
  return (await response.setEncoding('utf8').toArray()).join('');
}

console.log('forward:', await get('web-here.sock', 'localhost'));
console.log('gateway:', await get('gateway.sock', 'web.example.test'));
const { tasks } = await laptop.run('status');
console.log(
  'tasks:',
  tasks.map(({ task }) => task),
);
const members = await server.run('members');
console.log('members:', members.length);

// SIGTERM drains: open streams may go on, then the exit code is 0.
for (const node of [laptopNode, serverNode]) {
  node.kill('SIGTERM');
  const [code] = await once(node, 'exit');
  console.log('exit code', code);
}
site.close();
rmSync(home, { recursive: true });
