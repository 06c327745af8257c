// A forwarded port against a socket of the system: bytes, ends, resets, limits, and what stays open.

import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import net, { type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { beforeEach, describe, expect, it } from '@jest/globals';
import { ForwardTask, type ForwardValues } from '../../../lib/cli/services/forward-task.js';
import type { Socket as StarlaneSocket } from '../../../lib/index.js';
import { linkedNodes } from '../../clients/linked-nodes.js';
import { within } from '../../support/deadline.js';
import { OVERLAY_KINDS, type SpecHost, taskHost } from '../../support/overlays.js';

const NEVER = new AbortController().signal;

describe.each(OVERLAY_KINDS)('a forwarded port, with a node %s', (kind) => {
  const nodes = linkedNodes();
  let host: SpecHost;

  beforeEach(async () => {
    host = await taskHost(kind, nodes.joiner);
    nodes.finally(() => host.close());
  });

  async function forward(target = 'echo', values: ForwardValues = {}, at = '0'): Promise<ForwardTask> {
    const task = new ForwardTask(`${at}:${target}`, values);
    await task.start(host);
    nodes.finally(() => task.stop(AbortSignal.abort()));
    return task;
  }

  function connectTo({ listening }: ForwardTask): Socket {
    const where =
      listening?.path === undefined ? { port: listening?.port ?? 0, host: '127.0.0.1' } : { path: listening.path };
    return net.connect({ ...where, allowHalfOpen: true });
  }

  function bind(handler: (socket: StarlaneSocket) => void, name = 'echo'): void {
    nodes.listener.bind(name, { allowHalfOpen: true }, handler);
  }

  /** The next socket that the service accepts. */
  function accepted(name = 'echo'): Promise<StarlaneSocket> {
    return within('a socket of the service', new Promise((resolve) => bind(resolve, name)));
  }

  async function until(what: string, is: () => boolean): Promise<void> {
    const end = performance.now() + 10_000;
    while (!is()) {
      if (performance.now() > end) throw new Error(`never: ${what}`);
      await nextTurn();
    }
  }

  it('carries megabytes both ways, and both ends', async () => {
    bind((socket) => socket.pipe(socket));
    const task = await forward();
    const client = connectTo(task);
    const sent = Buffer.alloc(5_000_000, 'abcdefg');
    client.end(sent);
    const got: Buffer[] = [];
    for await (const chunk of client) got.push(chunk as Buffer);
    expect(Buffer.concat(got).equals(sent)).toBe(true);
    await until('it has closed', () => task.status()['open'] === 0);
    expect(task.status()).toMatchObject({ accepted: 1, failed: 0, bytesOut: sent.length, bytesIn: sent.length });
    expect(host.warnings).toEqual([]);
  });

  it('lets the client end its half first, and the service answer behind it', async () => {
    bind((socket) => {
      socket.resume();
      socket.once('end', () => socket.end('all of it'));
    });
    const client = connectTo(await forward());
    client.end('question');
    const [answer] = await once(client, 'data');
    expect(String(answer)).toBe('all of it');
    await once(client, 'end');
  });

  it('lets the service end its half first, and the client go on', async () => {
    const socket = accepted();
    const client = connectTo(await forward());
    client.write('x');
    const service = await socket;
    service.end();
    client.resume();
    await once(client, 'end');
    client.end('more');
    let text = '';
    for await (const chunk of service) text += String(chunk);
    expect(text).toBe('xmore');
  });

  it('resets the client when the service resets the circuit, also in the middle of an answer', async () => {
    const socket = accepted();
    const client = connectTo(await forward());
    client.write('x');
    const service = await socket;
    service.write('half an ans');
    expect(String((await once(client, 'data'))[0])).toBe('half an ans');
    service.resetAndDestroy();
    const [error] = (await once(client, 'error')) as [NodeJS.ErrnoException];
    expect(error.code).toBe('ECONNRESET');
  });

  it('resets the circuit when the client resets its connection', async () => {
    const socket = accepted();
    const client = connectTo(await forward());
    client.write('x');
    const service = await socket;
    service.resume();
    client.resetAndDestroy();
    const [error] = (await once(service, 'error')) as [NodeJS.ErrnoException];
    expect(error.code).toBe('ECONNRESET');
  });

  it('resets a client whose service is not there, and says so once', async () => {
    const task = await forward('@AAAAAAAAAAA:1');
    for (let index = 0; index < 3; index++) {
      const client = connectTo(task);
      client.write('x');
      await once(client, 'error');
    }
    await until('all have closed', () => task.status()['open'] === 0);
    expect(host.warnings).toHaveLength(1);
    expect(host.warnings[0]).toMatch(/^forward 127\.0\.0\.1:0 to @AAAAAAAAAAA:1: connect E/);
    expect(task.status()).toMatchObject({ accepted: 3, failed: 3 });
  });

  it('stops reading a client whose service does not read', async () => {
    const socket = accepted();
    const task = await forward();
    const client = connectTo(task);
    const chunk = Buffer.alloc(64 * 1024);
    client.write(chunk);
    const service = await socket;
    // Until no window takes more: 100 turns without progress.
    for (let idle = 0; idle < 100; idle++) {
      while (client.write(chunk)) idle = 0;
      const before = task.status()['bytesOut'];
      await nextTurn();
      if (task.status()['bytesOut'] !== before) idle = 0;
    }
    expect(task.status()['bytesOut'] as number).toBeLessThan(32 * 1024 * 1024);
    service.destroy();
    client.destroy();
  });

  it('opens and closes a thousand connections, and keeps nothing of them', async () => {
    bind((socket) => socket.pipe(socket));
    const task = await forward();
    const exchange = async () => {
      const client = connectTo(task);
      client.end('x');
      client.resume();
      await once(client, 'close');
    };
    for (let round = 0; round < 20; round++) await Promise.all(Array.from({ length: 50 }, exchange));
    await until('all have closed', () => task.status()['open'] === 0);
    expect(task.status()).toMatchObject({ accepted: 1000, failed: 0 });
    // Sockets and descriptors: linkedNodes() looks that nothing is left.
    expect(host.warnings).toEqual([]);
  });

  it('refuses more connections than it may have', async () => {
    bind((socket) => socket.pipe(socket));
    const task = await forward('echo', { maxConnections: 1 });
    const first = connectTo(task);
    first.write('x');
    await once(first, 'data');
    const second = connectTo(task);
    second.resume();
    second.on('error', () => {});
    await once(second, 'end');
    second.destroy();
    expect(task.status()).toMatchObject({ open: 1, refused: 1 });
    expect(host.warnings).toEqual([expect.stringContaining('1 connections are open')]);
    first.destroy();
  });

  it('ends connections that are silent, and no others', async () => {
    const socket = accepted();
    const task = await forward('echo', { idleTimeout: 100 });
    const silent = connectTo(task);
    silent.write('x');
    await socket;
    const [error] = (await once(silent, 'error')) as [NodeJS.ErrnoException];
    expect(error.code).toBe('ECONNRESET');
  });

  it('takes another target without losing what is open', async () => {
    bind((socket) => socket.on('data', () => socket.write('old')), 'old');
    bind((socket) => socket.on('data', () => socket.write('new')), 'new');
    const at = String(await freePort());
    const task = await forward('old', {}, at);
    const open = connectTo(task);
    open.write('x');
    expect(String((await once(open, 'data'))[0])).toBe('old');
    const next = new ForwardTask(`${at}:new`, {});
    expect(next.title).toBe(task.title);
    expect(await task.update(next)).toBe(true);
    const later = connectTo(task);
    later.write('x');
    expect(String((await once(later, 'data'))[0])).toBe('new');
    open.write('x');
    expect(String((await once(open, 'data'))[0])).toBe('old');
    open.destroy();
    later.destroy();
  });

  it('lets open connections end when it stops, and takes no more', async () => {
    const socket = accepted();
    const task = await forward();
    const client = connectTo(task);
    client.write('x');
    const service = await socket;
    const stopped = task.stop(NEVER);
    const late = connectTo(task);
    const [error] = (await once(late, 'error')) as [NodeJS.ErrnoException];
    expect(error.code).toBe('ECONNREFUSED');
    service.end('the rest');
    expect(String((await once(client, 'data'))[0])).toBe('the rest');
    client.end();
    await within('the end of the task', stopped);
  });

  it('listens at a unix socket for its user alone, and removes it at the end', async () => {
    bind((socket) => socket.pipe(socket));
    const folder = mkdtempSync(join(tmpdir(), 'starlane-forward-'));
    const path = join(folder, 'echo.sock');
    const task = await forward('echo', {}, path);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const client = connectTo(task);
    client.end('through a file');
    expect(String((await once(client, 'data'))[0])).toBe('through a file');
    client.resume();
    await once(client, 'close');
    await task.stop(NEVER);
    expect(existsSync(path)).toBe(false);
    rmSync(folder, { recursive: true });
  });

  async function freePort(): Promise<number> {
    const server = net.createServer();
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const { port } = server.address() as AddressInfo;
    await once(server.close(), 'close');
    return port;
  }

  it('says in one line why it cannot listen', async () => {
    const first = await forward();
    const port = first.listening?.port ?? 0;
    await expect(forward('echo', {}, String(port))).rejects.toMatchObject({
      message: `port ${port} is in use`,
      exitCode: 6,
    });
    await expect(forward('echo', {}, `192.0.2.1:${port}`)).rejects.toMatchObject({
      message: '192.0.2.1 is no address of this machine',
    });
    const folder = mkdtempSync(join(tmpdir(), 'starlane-forward-'));
    const path = join(folder, 'taken');
    writeFileSync(path, '');
    chmodSync(path, 0o600);
    await expect(forward('echo', {}, path)).rejects.toMatchObject({
      message: `${path} exists, and is no socket`,
      exitCode: 6,
    });
    expect(existsSync(path)).toBe(true);
    await expect(forward('echo', {}, join(folder, 'none', 'x'))).rejects.toMatchObject({ exitCode: 5 });
    const socket = join(folder, 'live.sock');
    await forward('echo', {}, socket);
    await expect(forward('echo', {}, socket)).rejects.toMatchObject({ message: `${socket} is in use`, exitCode: 6 });
    rmSync(folder, { recursive: true });
  });
});
