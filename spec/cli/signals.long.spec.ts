// Signals, and outputs that go away.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, writeFileSync } from 'node:fs';
import net, { type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Home } from '../../lib/cli/home.js';
import { builtUrl } from '../support/built-lib.js';
import { Machine } from '../support/command.js';

let machine: Machine;
let server: net.Server;
let port: string;

beforeEach(async () => {
  machine = new Machine();
  server = net.createServer((socket) => socket.on('error', () => {}).pipe(socket));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  port = String((server.address() as AddressInfo).port);
});

afterEach(async () => {
  await machine.dispose();
  server.close();
});

const MAIN = () => fileURLToPath(builtUrl('cli/main.js'));

describe('SIGHUP', () => {
  it('ends what has no file to read again, as the end of a terminal does, with a drain', async () => {
    const { command } = await machine.publish(['echo', '--port', port]);
    const guest = machine.start(['publish', 'other', '--port', port]);
    await guest.waitFor(/^published/m, 'stdout');
    expect(await guest.stop('SIGHUP')).toMatchObject({ code: 0 });
    expect(await command.stop('SIGHUP')).toMatchObject({ code: 0 });
  });

  it('names the keys of the node that need a restart', async () => {
    const file = join(machine.folder, 'starlane.yaml');
    writeFileSync(file, "listen: ['tls://127.0.0.1:0']\n");
    await machine.run(['init']);
    const up = machine.start(['up']);
    await up.waitFor(/^node \S+ runs/m, 'stdout');
    writeFileSync(file, "listen: ['tls://127.0.0.1:0', 'tls://127.0.0.1:1']\ndrain-timeout: 5s\n");
    up.signal('SIGHUP');
    await up.waitFor(/warning: listen, drain-timeout: .* restart/, 'stderr');
    await up.waitFor(/reloaded the configuration/, 'stderr');
    expect(await up.stop()).toMatchObject({ code: 0 });
  });

  it('leaves what has not changed alone', async () => {
    writeFileSync(
      join(machine.folder, 'starlane.yaml'),
      "listen: ['tls://127.0.0.1:0']\nmetrics: { port: 0 }\nmonitor: { port: 0 }\n",
    );
    await machine.run(['init']);
    const up = machine.start(['up']);
    await up.waitFor(/^node \S+ runs/m, 'stdout');
    const urls = async () =>
      (JSON.parse((await machine.run(['status', '--json'])).stdout) as { tasks: { url: string }[] }).tasks.map(
        ({ url }) => url,
      );
    const before = await urls();
    up.signal('SIGHUP');
    await up.waitFor(/reloaded the configuration/, 'stderr');
    expect(before).toHaveLength(2);
    expect(await urls()).toEqual(before);
  });

  it('does not cut a drain short', async () => {
    writeFileSync(
      join(machine.folder, 'starlane.yaml'),
      `listen: ['tls://127.0.0.1:0']\npublish: { echo: { port: ${port} } }\nforward:\n  0:echo:\n`,
    );
    await machine.run(['init']);
    const up = machine.start(['up']);
    await up.waitFor(/^node \S+ runs/m, 'stdout');
    const { tasks } = JSON.parse((await machine.run(['status', '--json'])).stdout) as { tasks: { listens?: string }[] };
    const local = tasks.find(({ listens }) => listens !== undefined)?.listens?.split(':')[1];
    const socket = net.connect(Number(local), '127.0.0.1');
    socket.write('a');
    await once(socket, 'data');
    up.signal('SIGTERM');
    await up.waitFor(/waiting for/, 'stderr');
    for (let i = 0; i < 5; i++) up.signal('SIGHUP');
    socket.write('b');
    expect(String((await once(socket, 'data'))[0])).toBe('b');
    socket.end();
    expect(await up.finish()).toMatchObject({ code: 0, stderr: expect.not.stringMatching('reloaded') });
  });
});

describe('SIGTERM', () => {
  it('ends a drain with a stuck stream at its deadline, with code 0', async () => {
    const { command } = await machine.publish(['echo', '--port', port, '--drain-timeout', '1s']);
    const connect = machine.start(['connect', 'echo']);
    connect.stdin.write('a');
    await connect.waitFor(/a/, 'stdout');
    expect(await command.stop()).toMatchObject({ code: 0 });
    expect(await connect.finish()).toMatchObject({ code: 3 });
  });

  it('ends a command whose node does not answer any more', async () => {
    const { stdout } = await machine.run(['init', '--json']);
    const path = new Home(machine.env).controlSocket((JSON.parse(stdout) as { credentials: string }).credentials);
    let onBind = () => {};
    const asked = new Promise<void>((resolve) => {
      onBind = resolve;
    });
    // It takes the session, and nothing else.
    const stuck = net.createServer((socket) => {
      socket
        .on('error', () => {})
        .once('data', (chunk) => {
          if (String(chunk).startsWith('CONNECT session'))
            socket.write(`HTTP/1.1 200 OK\r\n\r\n${JSON.stringify({ session: '0', id: 'x', offers: true })}\n`);
          else onBind();
        });
    });
    await once(stuck.listen(path), 'listening');
    try {
      const guest = machine.start(['publish', 'echo', '--port', port, '--drain-timeout', '100ms']);
      await asked;
      expect(await guest.stop()).toMatchObject({ code: 0 });
    } finally {
      stuck.close();
    }
  });

  it('ends watch with code 0, and a wait for the network with 143', async () => {
    const { command, token } = await machine.publish(['echo', '--port', port]);
    const watch = machine.start(['watch']);
    await watch.waitFor(/version/, 'stdout');
    expect(await watch.stop()).toMatchObject({ code: 0 });
    const other = new Machine();
    try {
      await other.run(['join', token]);
      await command.stop('SIGKILL');
      const connect = other.start(['connect', 'echo', '--timeout', '1m', '--log-level', 'debug']);
      await connect.waitFor(/ECONNREFUSED/, 'stderr');
      expect(await connect.stop()).toMatchObject({ code: 143 });
    } finally {
      await other.dispose();
    }
  });
});

describe('an output that fails', () => {
  const start = (args: readonly string[], stdio: ('ignore' | 'pipe' | number)[]) =>
    spawn(process.execPath, [MAIN(), ...args], { env: { ...machine.env }, cwd: machine.folder, stdio });

  (existsSync('/dev/full') ? it : it.skip)('with a full disk is one line, and code 1', async () => {
    const full = openSync('/dev/full', 'w');
    const child = start(['--help'], ['ignore', full, 'pipe']);
    closeSync(full);
    let stderr = '';
    child.stderr?.on('data', (text) => {
      stderr += text;
    });
    expect(await once(child, 'close')).toEqual([1, null]);
    expect(stderr).toMatch(/^starlane: standard output: .*ENOSPC.*\n$/);
  });

  it('which is the log leaves the node running', async () => {
    const child = start(
      ['publish', 'web', '--port', '9', '--check', 'tcp', '--interval', '10ms', '--listen', 'tls://127.0.0.1:0'],
      ['ignore', 'pipe', 'pipe'],
    );
    child.stderr?.destroy();
    await once(child.stdout as NodeJS.ReadableStream, 'data');
    // What it said about its check was lost.
    expect((await machine.run(['status'])).code).toBe(0);
    child.kill();
    expect(await once(child, 'close')).toEqual([0, null]);
  });
});
