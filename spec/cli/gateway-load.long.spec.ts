// The gateway under load: its file is read again, it drains, and a new process takes its place, as systemd does with a socket unit. Not one
// request fails.

import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import http from 'node:http';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
// @ts-expect-error It has no types.
import autocannon from 'autocannon';
import { builtUrl } from '../support/built-lib.js';
import { Machine } from '../support/command.js';
import { within } from '../support/deadline.js';

let server: Machine;
let edge: Machine;
let backend: http.Server;
let socket: Server;
let holder: Holder | undefined;

beforeEach(async () => {
  server = new Machine();
  edge = new Machine();
  backend = http.createServer((_request, response) => response.end('x'.repeat(1_024)));
  await once(backend.listen(0, '127.0.0.1'), 'listening');
  socket = createServer().listen(0, '127.0.0.1', 4_096);
  await once(socket, 'listening');
});

afterEach(async () => {
  await Promise.all([server.dispose(), edge.dispose()]);
  holder?.close();
  backend.close();
  backend.closeAllConnections();
  socket.close();
});

/** Holds the socket as systemd does: its queue of connections outlives the processes that accept from it. */
class Holder {
  private readonly shell: ChildProcessWithoutNullStreams;
  private text = '';
  private readonly waiting = new Set<() => void>();

  constructor(listening: Server, env: Readonly<Record<string, string | undefined>>) {
    const { fd } = (listening as unknown as { _handle: { fd: number } })._handle;
    const script = 'while read -r file; do ( "$NODE" "$MAIN" up --json --config "$file" 3<&3; echo "exit $?" ) & done';
    const main = fileURLToPath(builtUrl('cli/main.js'));
    this.shell = spawn('sh', ['-c', script], {
      env: { ...env, NODE: process.execPath, MAIN: main },
      stdio: ['pipe', 'pipe', 'pipe', fd],
    }) as unknown as ChildProcessWithoutNullStreams;
    // This process would accept connections as well.
    listening.close();
    for (const stream of [this.shell.stdout, this.shell.stderr]) {
      stream.on('data', (chunk) => {
        this.text += chunk;
        for (const look of this.waiting) look();
      });
    }
  }

  /** Starts a gateway, and returns its pid. */
  async start(file: string): Promise<number> {
    this.text = '';
    this.shell.stdin.write(`${file}\n`);
    return Number((await this.said(/"pid":(\d+)/))[1]);
  }

  said(what: RegExp): Promise<RegExpExecArray> {
    const found = new Promise<RegExpExecArray>((resolve) => {
      const look = () => {
        const match = what.exec(this.text);
        if (match !== null) resolve(match);
      };
      this.waiting.add(look);
      look();
    });
    return within(`${what} of the gateway`, found, 30_000).catch((error: Error) => {
      throw new Error(`${error.message}: ${this.text}`);
    });
  }

  close(): void {
    this.shell.kill('SIGKILL');
  }
}

it('reloads, drains and is restarted without a failed request', async () => {
  const { port: backendPort } = backend.address() as AddressInfo;
  const { token } = await server.publish(['web', '--port', String(backendPort)]);
  expect(await edge.run(['join', token, '--name', 'edge'])).toMatchObject({ code: 0 });
  const file = join(edge.folder, 'starlane.yaml');
  const content = (more: string) => `role: client\ngateway:\n  fd: 3\n  suffix: .example.test\n${more}`;
  writeFileSync(file, content(''));
  const { port } = socket.address() as AddressInfo;
  holder = new Holder(socket, edge.env);
  let pid = await holder.start(file);

  const load = autocannon({
    url: `http://127.0.0.1:${port}/`,
    headers: { host: 'web.example.test' },
    connections: 20,
    // The spec ends it.
    duration: 600,
    timeout: 60,
  });
  const answered = (requests: number): Promise<void> => {
    let count = 0;
    const all = new Promise<void>((resolve) => {
      load.on('response', () => {
        if (++count === requests) resolve();
      });
    });
    return within(`${requests} answers`, all, 60_000);
  };
  try {
    await answered(500);
    for (const route of ['one', 'two', 'three']) {
      writeFileSync(file, content(`  route: ['${route}.test=web']\n`));
      process.kill(pid, 'SIGHUP');
      await answered(200);
    }
    await holder.said(/reloaded the configuration/);
    for (let turn = 0; turn < 2; turn++) {
      process.kill(pid, 'SIGTERM');
      expect((await holder.said(/exit (\d+)/))[1]).toBe('0');
      pid = await holder.start(file);
      await answered(500);
    }
  } finally {
    load.stop();
  }
  const { errors, timeouts, mismatches, non2xx, resets, ...result } = await load;
  expect({ errors, timeouts, mismatches, non2xx, resets }).toEqual({
    errors: 0,
    timeouts: 0,
    mismatches: 0,
    non2xx: 0,
    resets: 0,
  });
  expect(result['2xx']).toBeGreaterThan(2_000);
  process.kill(pid, 'SIGTERM');
  expect((await holder.said(/exit (\d+)/))[1]).toBe('0');
}, 180_000);
