// starlane publish of a port or a unix socket, as processes.

import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import net, { type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from '@jest/globals';
import type { Socket } from '../../../lib/index.js';
import { type Caller, callerWith, until } from '../../support/caller.js';
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

async function caller(token: string, name?: string): Promise<Caller> {
  const made = await callerWith(token, name);
  ends.push(() => made.close());
  return made;
}

async function listen(server: net.Server, where: number | string = 0): Promise<number> {
  ends.push(() => server.close());
  await once(typeof where === 'string' ? server.listen(where) : server.listen(where, '127.0.0.1'), 'listening');
  return typeof where === 'string' ? 0 : (server.address() as AddressInfo).port;
}

function echo(): net.Server {
  return net.createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  });
}

async function failureOf(socket: Socket): Promise<NodeJS.ErrnoException> {
  const [error] = (await within('the failure', once(socket, 'error'))) as [NodeJS.ErrnoException];
  return error;
}

describe('a published service', () => {
  it('has bytes both ways, and each half ends by itself', async () => {
    const received: Buffer[] = [];
    const port = await listen(
      net.createServer({ allowHalfOpen: true }, (socket) => {
        socket.on('data', (chunk: Buffer) => received.push(chunk));
        // It answers when it has read everything.
        socket.once('end', () => socket.end(`read ${Buffer.concat(received).length} bytes`));
      }),
    );
    const { token } = await machine().publish(['upload', '--port', String(port)]);
    const { node } = await caller(token);
    const socket = node.dial('upload', { allowHalfOpen: true });
    socket.end(Buffer.alloc(3_000_000, 'u'));
    expect((await within('the answer', readToEnd(socket))).toString()).toBe('read 3000000 bytes');
  });

  it('may be at a unix socket', async () => {
    const here = machine();
    const path = join(here.folder, 'app.sock');
    await listen(echo(), path);
    const { token } = await here.publish(['app', '--unix', path]);
    const { node } = await caller(token);
    const socket = node.dial('app', { allowHalfOpen: true });
    socket.end('by path');
    expect((await within('the echo', readToEnd(socket))).toString()).toBe('by path');
  });

  it('takes 500 circuits at a time, and each has its own bytes', async () => {
    const port = await listen(echo());
    const { token } = await machine().publish(['echo', '--port', String(port)]);
    const { node } = await caller(token);
    const echoes = await within(
      'the echoes',
      Promise.all(
        Array.from({ length: 500 }, async (_, index) => {
          const socket = node.dial('echo', { allowHalfOpen: true });
          const text = `${index} `.repeat(2_000);
          socket.end(text);
          return (await readToEnd(socket)).toString() === text;
        }),
      ),
      60_000,
    );
    expect(echoes.filter((isRight) => isRight)).toHaveLength(500);
  });

  it('passes on a reset of either end', async () => {
    const local: net.Socket[] = [];
    const port = await listen(net.createServer((socket) => local.push(socket)));
    const { token } = await machine().publish(['app', '--port', String(port)]);
    const { node } = await caller(token);
    const first = node.dial('app');
    first.write('x');
    await within('the circuit', once(first, 'connect'));
    const server = await until('the connection', () => local.pop());
    const failed = failureOf(first);
    server.resetAndDestroy();
    expect((await failed).code).toBe('ECONNRESET');
    const second = node.dial('app');
    second.write('x');
    await within('the circuit', once(second, 'connect'));
    const other = await until('the connection', () => local.pop());
    const fault = once(other, 'error');
    second.resetAndDestroy();
    const [error] = (await within('the reset', fault)) as [NodeJS.ErrnoException];
    expect(error.code).toBe('ECONNRESET');
  });

  it('says who may dial, by name and by tag', async () => {
    const port = await listen(echo());
    const here = machine();
    const { token } = await here.publish(['db', '--port', String(port), '--allow', 'app-*', '--allow-tag', 'ops']);
    const stranger = await caller(token, 'laptop');
    const error = await failureOf(stranger.node.dial('db'));
    expect(error).toMatchObject({ code: 'EACCES', syscall: 'connect' });
    for (const args of [['app-1'], ['console', '--tag', 'ops']]) {
      const { stdout } = await here.run(['invite', ...args]);
      const { node } = await caller(stdout.trim());
      const socket = node.dial('db', { allowHalfOpen: true });
      socket.end('let in');
      expect((await within('the echo', readToEnd(socket))).toString()).toBe('let in');
    }
  });

  it('shows its weight and its meta to others, and has a virtual port and the name of an instance', async () => {
    const port = await listen(echo());
    const args = [
      'web:8080',
      '--port',
      String(port),
      '--weight',
      '7',
      '--meta',
      'zone=a',
      '--meta',
      'version=2',
      '--instance',
      'a1',
    ];
    const { token } = await machine().publish(args);
    const { node } = await caller(token);
    await knows(node, 'web');
    expect(node.services()).toMatchObject([
      { service: 'web', port: 8080, weight: 7, meta: { zone: 'a', version: '2' } },
    ]);
    expect((await failureOf(node.dial('web:80', { timeoutMs: 500 }))).code).toMatch(/ENOTFOUND|ECONNREFUSED/);
    for (const address of ['web:8080', 'a1.web:8080']) {
      const socket = node.dial(address);
      await within('the connection', once(socket, 'connect'));
      socket.destroy();
    }
  });

  it('refuses at once when nothing answers locally, says why, and takes dials when it answers again', async () => {
    const server = echo();
    const port = await listen(server);
    const { command, token } = await machine().publish(['web', '--port', String(port)]);
    const { node } = await caller(token);
    await new Promise((resolve) => server.close(resolve));
    for (let count = 0; count < 2; count++) {
      expect(await failureOf(node.dial('web'))).toMatchObject({
        code: 'ECONNREFUSED',
        cause: { message: expect.stringMatching(/the server behind web does not answer \(ECONNREFUSED\)/) },
      });
    }
    await listen(server, port);
    const socket = node.dial('web', { allowHalfOpen: true });
    socket.end('again');
    expect((await within('the echo', readToEnd(socket))).toString()).toBe('again');
    await command.waitFor(/answers again/, 'stderr');
    expect(command.stderr.match(/does not answer/g)).toHaveLength(1);
  });

  it('leaves a dial to another instance when its own server is down', async () => {
    const port = await listen(echo());
    const first = machine();
    const { command, token } = await first.publish(['web', '--port', String(port)]);
    const { stdout } = await first.run(['invite']);
    const closed = echo();
    const gone = await listen(closed);
    await new Promise((resolve) => closed.close(resolve));
    const second = machine();
    const other = second.start(['publish', 'web', '--port', String(gone), '--join', stdout.trim()]);
    await other.waitFor(/published/, 'stdout');
    const { node } = await caller(token);
    await until('both instances', () => node.services().filter(({ service }) => service === 'web').length === 2);
    const echoes = await Promise.all(
      Array.from({ length: 40 }, async (_, index) => {
        const socket = node.dial('web', { allowHalfOpen: true });
        socket.end(`request ${index}`);
        return (await within('the echo', readToEnd(socket))).toString();
      }),
    );
    expect(echoes).toEqual(Array.from({ length: 40 }, (_, index) => `request ${index}`));
    await other.waitFor(/does not answer: ECONNREFUSED/, 'stderr');
    expect(command.stderr).not.toMatch(/does not answer/);
  });

  it('works through the node of another command, also when its server is down', async () => {
    const port = await listen(echo());
    const here = machine();
    const { token } = await here.publish(['web', '--port', String(port)]);
    const second = echo();
    const secondPort = await listen(second);
    const shared = here.start(['publish', 'web2', '--port', String(secondPort), '--allow', '*']);
    await shared.waitFor(/published/, 'stdout');
    const { node } = await caller(token);
    const socket = node.dial('web2', { allowHalfOpen: true });
    socket.end('shared');
    expect((await within('the echo', readToEnd(socket))).toString()).toBe('shared');
    await new Promise((resolve) => second.close(resolve));
    expect(await failureOf(node.dial('web2'))).toMatchObject({
      code: 'ECONNREFUSED',
      cause: { message: expect.stringMatching(/does not answer \(ECONNREFUSED\)/) },
    });
    expect(await shared.stop()).toMatchObject({ code: 0 });
    await forgets(node, 'web2');
  });
});

describe('the health check', () => {
  it('publishes while the service is healthy, and lets open circuits go on', async () => {
    let status = 503;
    const paths: Array<string | undefined> = [];
    const http = createHttpServer((request, response) => {
      if (request.url === '/health') {
        paths.push(request.headers.host);
        response.writeHead(status).end();
      } else response.write('open');
    });
    const port = await listen(http);
    ends.push(() => http.closeAllConnections());
    const here = machine();
    const args = ['web', '--port', String(port), '--check', '/health', '--interval', '50ms', '--fall', '2'];
    const { command, token } = await here.publish(args);
    await command.waitFor(/waits for 127\.0\.0\.1:\d+ \(status 503\)/, 'stderr');
    const { node } = await caller(token);
    expect((await failureOf(node.dial('web', { timeoutMs: 300 }))).code).toBe('ENOTFOUND');
    status = 204;
    await within('the service', knows(node, 'web'));
    const open = node.dial('web');
    open.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
    await within('the answer', once(open, 'data'));
    const before = command.stderr.match(/unhealthy/g)?.length ?? 0;
    for (let flap = 1; flap <= 3; flap++) {
      status = 500;
      await within('the end of the service', forgets(node, 'web'));
      const state = JSON.parse((await here.run(['status', '--json'])).stdout) as { tasks: unknown[] };
      expect(state.tasks).toMatchObject([{ task: 'publish web', state: 'unhealthy', fault: 'status 500' }]);
      expect(open.destroyed).toBe(false);
      status = 302;
      await within('the service', knows(node, 'web'));
    }
    expect((command.stderr.match(/unhealthy: status 500/g)?.length ?? 0) - before).toBe(3);
    open.destroy();
    expect(new Set(paths)).toEqual(new Set([`127.0.0.1:${port}`]));
  });

  it('has a deadline, and asks at a unix socket, too', async () => {
    let answers = false;
    const here = machine();
    const path = join(here.folder, 'app.sock');
    const http = createHttpServer((_request, response) => {
      if (answers) response.end('fine');
    });
    await listen(http, path);
    ends.push(() => http.closeAllConnections());
    const args = ['app', '--unix', path, '--check', '/', '--check-status', '200', '--interval', '50ms'];
    const { command, token } = await here.publish([...args, '--timeout', '100ms']);
    await command.waitFor(/waits for .*app\.sock \(no answer within 0\.1 s\)/, 'stderr');
    answers = true;
    const { node } = await caller(token);
    await within('the service', knows(node, 'app'));
  });

  it('by tcp sees that nothing listens', async () => {
    const server = echo();
    const port = await listen(server);
    const { command, token } = await machine().publish([
      'db',
      '--port',
      String(port),
      '--check',
      'tcp',
      '--interval',
      '30ms',
      '--fall',
      '1',
      '--rise',
      '1',
    ]);
    const { node } = await caller(token);
    await within('the service', knows(node, 'db'));
    await new Promise((resolve) => server.close(resolve));
    await command.waitFor(/db: 127\.0\.0\.1:\d+ is unhealthy: ECONNREFUSED/, 'stderr');
    await within('the end of the service', forgets(node, 'db'));
  });

  it.each([
    [['--check', 'nonsense'], /--check must be tcp/],
    [['--interval', '5'], /needs --check/],
    [['--check', '/x', '--check-status', 'fine'], /--check-status must be/],
  ])('is refused with %j', async (args, message) => {
    const { code, stderr, stdout } = await machine().run(['publish', 'web', '--port', '1', ...args]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(message);
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });
});
