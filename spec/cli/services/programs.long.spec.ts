// The command with real programs: redis through forward, curl through socks and proxy, psql and ssh through connect, and what happens when
// processes end in the middle.

import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net, { type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { POSTGRES, startPostgres } from '../../clients/postgres-server.js';
import { REDIS, startRedis } from '../../clients/redis-server.js';
import { describeWithPrograms, findProgram } from '../../clients/server-program.js';
import { builtUrl } from '../../support/built-lib.js';
import { type Command, Machine } from '../../support/command.js';

const run = promisify(execFile);
const BIG = randomBytes(20_000_000);

/** A machine that publishes, and one that uses: its node is that of `shared`. */
let server: Machine;
let user: Machine;
let publish: Command;
let shared: Command;
const web = http.createServer((request, response) => {
  if (request.url === '/big') response.end(BIG);
  else if (request.url === '/slow') {
    response.write('first');
    web.once('go', () => response.end('last'));
  } else request.pipe(response.writeHead(200, { 'x-url': request.url }));
});

beforeAll(async () => {
  await once(web.listen(0, '127.0.0.1'), 'listening');
  server = new Machine();
  user = new Machine();
  const made = await server.publish(['web', '--port', String((web.address() as AddressInfo).port)]);
  publish = made.command;
  shared = user.start(['forward', '0:web', '--join', made.token]);
  await portOf(shared);
}, 60_000);

afterAll(async () => {
  await Promise.all([server.dispose(), user.dispose()]);
  web.closeAllConnections();
  web.close();
});

async function portOf(command: Command): Promise<number> {
  return Number((await command.waitFor(/127\.0\.0\.1:([1-9]\d*)/, 'stdout'))[1]);
}

/** Publishes another service of the server's machine, over the node that runs there. */
async function offer(name: string, args: readonly string[]): Promise<void> {
  await server.start(['publish', name, ...args]).waitFor(/published/);
}

/** Standard input and output of `starlane connect`, as a port for programs that know no ProxyCommand. */
async function connectPort(name: string): Promise<{ port: number; close: () => void }> {
  const listener = net.createServer({ allowHalfOpen: true }, (socket) => {
    const child = spawn(process.execPath, [fileURLToPath(builtUrl('cli/main.js')), 'connect', name], { env: user.env });
    socket.on('error', () => {});
    child.stdin.on('error', () => {});
    socket.pipe(child.stdin);
    child.stdout.pipe(socket);
  });
  await once(listener.listen(0, '127.0.0.1'), 'listening');
  return { port: (listener.address() as AddressInfo).port, close: () => listener.close() };
}

describeWithPrograms(
  'redis through forward',
  { programs: [...REDIS.programs, 'redis-cli', 'redis-benchmark'], debian: 'redis-tools' },
  () => {
    it('answers redis-cli and redis-benchmark, with one node and with a shared one', async () => {
      const redis = await startRedis();
      await offer('redis', ['--unix', redis.path]);
      const port = String(await portOf(user.start(['forward', '0:redis'])));
      const { stdout } = await run('redis-cli', ['-p', port, 'ping']);
      expect(stdout).toBe('PONG\n');
      const bench = await run('redis-benchmark', ['-p', port, '-n', '2000', '-c', '20', '-q', '-t', 'set,get']);
      expect(bench.stdout).toMatch(/GET: [\d.]+ requests per second/);
      await redis.stop();
    }, 60_000);
  },
);

describeWithPrograms('curl', { programs: ['curl'], debian: 'curl' }, () => {
  it('reaches services through socks by name, and nothing else', async () => {
    const socks = user.start(['socks', '--port', '0']);
    const at = `127.0.0.1:${await portOf(socks)}`;
    for (const host of ['web', 'web.starlane', 'web:443']) {
      const { stdout } = await run('curl', ['-sS', '--socks5-hostname', at, '-d', 'hello', `http://${host}/`]);
      expect(stdout).toBe('hello');
    }
    expect((await run('curl', ['-sS', '-x', `socks4a://${at}`, '-d', 'four', 'http://web/'])).stdout).toBe('four');
    const refused = run('curl', ['-sS', '--socks5-hostname', at, 'http://127.0.0.1:1/']);
    await expect(refused).rejects.toMatchObject({ code: 97, stderr: expect.stringContaining('(2)') });
    const unknown = run('curl', ['-sS', '--socks5-hostname', at, 'http://example.invalid/']);
    await expect(unknown).rejects.toMatchObject({ code: 97, stderr: expect.stringContaining('(4)') });
    expect(await socks.stop()).toMatchObject({ code: 0 });
  }, 60_000);

  it('asks for a password where one is set', async () => {
    const file = join(user.folder, 'password');
    writeFileSync(file, 'secret\n', { mode: 0o600 });
    const auth = ['--user', 'me', '--password-file', file];
    const socks = `127.0.0.1:${await portOf(user.start(['socks', '--port', '0', ...auth]))}`;
    const proxy = `127.0.0.1:${await portOf(user.start(['proxy', '--port', '0', ...auth]))}`;
    for (const [scheme, at] of [
      ['socks5h', socks],
      ['http', proxy],
    ]) {
      const { stdout } = await run('curl', ['-sS', '-x', `${scheme}://me:secret@${at}`, '-d', 'in', 'http://web/']);
      expect(stdout).toBe('in');
    }
    await expect(run('curl', ['-sS', '-x', `socks5h://me:wrong@${socks}`, 'http://web/'])).rejects.toMatchObject({
      code: 97,
    });
    const { stdout } = await run('curl', [
      '-s',
      '-o',
      '/dev/null',
      '-w',
      '%{http_code}',
      '-x',
      `http://me:wrong@${proxy}`,
      'http://web/',
    ]);
    expect(stdout).toBe('407');
    expect(await user.run(['socks', '--bind', '0.0.0.0'])).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^starlane: socks: .*needs --user and --password-file\n$/),
    });
  }, 60_000);

  it('reaches services through the proxy, in a tunnel and by whole URLs', async () => {
    const at = `http://127.0.0.1:${await portOf(user.start(['proxy', '--port', '0']))}`;
    expect((await run('curl', ['-sS', '-x', at, '-d', 'hello', 'http://web/'])).stdout).toBe('hello');
    expect((await run('curl', ['-sS', '-p', '-x', at, '-d', 'hello', 'http://web.starlane/'])).stdout).toBe('hello');
    const big = await run('curl', ['-sS', '-x', at, 'http://web/big'], { encoding: 'buffer', maxBuffer: 50_000_000 });
    expect(big.stdout.equals(BIG)).toBe(true);
    for (const [url, status] of [
      ['http://127.0.0.1:1/', '403'],
      ['http://example.invalid/', '404'],
    ]) {
      const { stdout } = await run('curl', ['-s', '-w', '%{http_code}', '-x', at, url]);
      expect(stdout).toMatch(new RegExp(`^starlane proxy: .*${status}$`, 's'));
    }
  }, 60_000);
});

describeWithPrograms('psql through connect', { programs: [...POSTGRES.programs, 'psql'], debian: 'postgresql' }, () => {
  it('queries', async () => {
    const postgres = await startPostgres();
    await offer('db', ['--port', String(postgres.port)]);
    const bridge = await connectPort('db');
    const args = [
      '-h',
      '127.0.0.1',
      '-p',
      String(bridge.port),
      '-U',
      'postgres',
      '-Atc',
      'select repeat($$x$$, 100000)',
    ];
    const { stdout } = await run('psql', args);
    expect(stdout.trim()).toBe('x'.repeat(100_000));
    bridge.close();
    await postgres.stop();
  }, 90_000);
});

describeWithPrograms(
  'ssh through connect',
  { programs: ['ssh', 'sshd', 'ssh-keygen'], debian: 'openssh-server' },
  () => {
    it('runs a command, with connect as its ProxyCommand', async () => {
      const { folder } = server;
      for (const name of ['host', 'client'])
        await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, name)]);
      // Where a service of the system would have made it.
      if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true, mode: 0o755 });
      const config = join(folder, 'sshd_config');
      writeFileSync(
        config,
        [
          `HostKey ${join(folder, 'host')}`,
          `AuthorizedKeysFile ${join(folder, 'client.pub')}`,
          'StrictModes no',
          'UsePAM no',
          'PasswordAuthentication no',
          'PermitRootLogin prohibit-password',
          'PidFile none',
        ].join('\n'),
      );
      const sshd = net.createServer({ allowHalfOpen: true }, (socket) => {
        const child = spawn(findProgram('sshd') ?? 'sshd', ['-i', '-e', '-f', config]);
        socket.on('error', () => {});
        child.stdin.on('error', () => {});
        child.stderr.resume();
        socket.pipe(child.stdin);
        child.stdout.pipe(socket);
      });
      await once(sshd.listen(0, '127.0.0.1'), 'listening');
      await offer('ssh', ['--port', String((sshd.address() as AddressInfo).port)]);
      const command = `env STARLANE_HOME=${user.env['STARLANE_HOME']} ${process.execPath} ${fileURLToPath(builtUrl('cli/main.js'))} connect ssh`;
      const options = [
        `ProxyCommand=${command}`,
        'StrictHostKeyChecking=no',
        'UserKnownHostsFile=/dev/null',
        'BatchMode=yes',
        'LogLevel=ERROR',
      ];
      const args = [
        '-F',
        'none',
        '-i',
        join(folder, 'client'),
        ...options.flatMap((option) => ['-o', option]),
        'anyhost',
      ];
      const { stdout } = await run('ssh', [...args, 'head -c 3000000 /dev/zero | wc -c; echo over ssh']);
      expect(stdout).toBe('3000000\nover ssh\n');
      sshd.close();
    }, 60_000);
  },
);

describe('connect', () => {
  it('prints nothing but the data, ends with the input, and exits with 0', async () => {
    const command = user.start(['connect', 'web']);
    command.stdin.end('POST / HTTP/1.0\r\nContent-Length: 4\r\n\r\ndata');
    const { code, stdout, stderr } = await command.finish();
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^HTTP\/1\.1 200 OK\r\n.*\r\n\r\ndata$/s);
  });

  it('exits with 5 for a service that nobody offers, and with 2 for no name', async () => {
    const nobody = await user.run(['connect', 'nobody', '--timeout', '1s']);
    expect(nobody).toMatchObject({
      code: 5,
      stdout: '',
      stderr: expect.stringMatching(/^starlane: nobody: .*ENOTFOUND.*\n$/),
    });
    expect(await user.run(['connect', 'web:x'])).toMatchObject({ code: 2, stdout: '' });
  });
});

describe('ends', () => {
  it('keep a control socket for its user alone', () => {
    const folder = join(user.folder, 'home', 'run');
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    const sockets = readdirSync(folder);
    expect(sockets).toHaveLength(1);
    for (const name of sockets) expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600);
  });

  it('let an answer that is under way come to its end after SIGTERM, with exit code 0', async () => {
    const command = user.start(['forward', '0:web']);
    const port = await portOf(command);
    const response = await fetch(`http://127.0.0.1:${port}/slow`);
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    expect(String(Buffer.from((await reader.read()).value ?? []))).toBe('first');
    command.signal('SIGTERM');
    // It no longer listens when the signal has been seen.
    while (
      await fetch(`http://127.0.0.1:${port}/`, { keepalive: false }).then(
        () => true,
        () => false,
      )
    );
    web.emit('go');
    let rest = '';
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      rest += Buffer.from(value).toString();
    }
    expect(rest).toBe('last');
    expect(await command.finish()).toMatchObject({ code: 0 });
  }, 60_000);

  it('come at once with a second signal', async () => {
    const command = user.start(['forward', '0:web']);
    const port = await portOf(command);
    const response = await fetch(`http://127.0.0.1:${port}/slow`);
    command.signal('SIGTERM');
    while (
      await fetch(`http://127.0.0.1:${port}/`).then(
        () => true,
        () => false,
      )
    );
    command.signal('SIGTERM');
    expect(await command.finish()).toMatchObject({ code: 143 });
    await response.text().catch(() => {});
    web.emit('go');
  }, 60_000);

  it('end a command in one line when the node that it shares is killed', async () => {
    const forward = user.start(['forward', '0:web']);
    await portOf(forward);
    const offered = user.start(['publish', 'other', '--port', '1']);
    await offered.waitFor(/published/);
    await shared.stop('SIGKILL');
    for (const command of [forward, offered]) {
      const { code, stderr } = await command.finish();
      expect({ code, stderr }).toEqual({ code: 3, stderr: 'starlane: the node that this command used has ended\n' });
    }
    expect(await publish.stop()).toMatchObject({ code: 0 });
  }, 60_000);
});
