// What a newcomer does with the package: two commands on two machines, nothing to edit.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, get } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { builtUrl } from '../support/built-lib.js';
import { within } from '../support/deadline.js';

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const FIRST_BYTE_MS = 10_000;
const folder = mkdtempSync(join(tmpdir(), 'starlane-newcomer-'));
const children = new Set<ChildProcess>();

function npm(cwd: string, ...args: string[]): string {
  const env = { ...process.env, npm_config_cache: join(folder, 'cache'), npm_config_update_notifier: 'false' };
  return execFileSync('npm', args, { cwd, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Runs `npx starlane` as a newcomer does. */
class Command {
  output = '';
  private readonly child: ChildProcess;
  private readonly closed: Promise<unknown>;

  constructor(cwd: string, home: string, args: readonly string[]) {
    this.child = spawn('npx', ['starlane', ...args], {
      cwd,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env['PATH'], HOME: folder, STARLANE_HOME: home, npm_config_offline: 'true' },
    });
    children.add(this.child);
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.output += chunk;
      });
    }
    this.closed = new Promise((resolve) => this.child.once('close', resolve));
  }

  async waitFor(pattern: RegExp): Promise<RegExpExecArray> {
    const find = async (): Promise<RegExpExecArray> => {
      for (;;) {
        const match = pattern.exec(this.output);
        if (match !== null) return match;
        if (this.child.exitCode !== null) throw new Error(`ended without ${pattern}: ${this.output}`);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    };
    return within(`${pattern} from starlane`, find(), 60_000);
  }

  async end(): Promise<void> {
    end(this.child);
    await this.closed;
  }
}

function end(child: ChildProcess): void {
  children.delete(child);
  try {
    process.kill(-(child.pid as number), 'SIGTERM');
  } catch {
    // It has ended.
  }
}

function request(port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    get({ host: '127.0.0.1', port, agent: false }, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => {
        text += chunk;
      });
      response.once('end', () => resolve(text));
    }).once('error', () => resolve(undefined));
  });
}

/** Returns an answer, and how long it took since the command was started. */
async function firstAnswer(port: number, sinceMs: number): Promise<{ text: string; tookMs: number }> {
  const ask = async () => {
    for (;;) {
      const text = await request(port);
      if (text !== undefined) return { text, tookMs: performance.now() - sinceMs };
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  return within('the first answer', ask(), 60_000);
}

describe('the package, installed in two folders', () => {
  const web = createServer((_request, response) => response.end('hello from the first machine'));
  const [one, two] = ['one', 'two'].map((name) => join(folder, name));
  let port = 0;

  beforeAll(async () => {
    await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve));
    ({ port } = web.address() as AddressInfo);
    // As `npm pack` makes it, with the library as it is now.
    const stage = join(folder, 'stage');
    mkdirSync(stage);
    for (const file of ['package.json', 'README.md', 'LICENSE', 'SECURITY.md', 'CHANGELOG.md', 'THIRD-PARTY-LICENSES'])
      cpSync(join(ROOT, file), join(stage, file));
    cpSync(dirname(fileURLToPath(builtUrl('index.js'))), join(stage, 'dist'), { recursive: true });
    rmSync(join(stage, 'dist/package.json'), { force: true });
    const sources = [stage, ...['debug', 'ms'].map((name) => join(ROOT, 'node_modules', name))];
    const files = sources.map((source) => npm(folder, 'pack', '--ignore-scripts', '--silent', source).trim());
    for (const machine of [one, two]) {
      mkdirSync(machine);
      writeFileSync(join(machine, 'package.json'), '{"private":true}');
      const tarballs = files.map((file) => join(folder, file));
      npm(machine, 'install', '--offline', '--no-audit', '--no-fund', '--silent', ...tarballs);
    }
  }, 120_000);

  afterAll(async () => {
    for (const child of [...children]) end(child);
    web.closeAllConnections();
    await new Promise((resolve) => web.close(resolve));
    rmSync(folder, { recursive: true, force: true });
  });

  it.each([
    ['two machines', 'home-two'],
    ['one machine', 'home-one'],
  ])(
    'connects a port with two commands on %s, and the first byte is there within ten seconds',
    async (_where, home) => {
      const first = join(folder, `${home}-first`);
      const publish = new Command(one, first, ['publish', 'web', '--port', String(port)]);
      // What it prints is the second command.
      const [, printed] = await publish.waitFor(/^ {2}npx starlane (forward .* --join starlane1\.[\w-]+)$/m);
      const args = printed.split(' ');
      expect(args.slice(0, 2)).toEqual(['forward', `${port}:web`]);
      args[1] = '0:web';
      const startedMs = performance.now();
      const forward = new Command(two, home === 'home-one' ? first : join(folder, home), args);
      const [, local] = await forward.waitFor(/127\.0\.0\.1:(\d+)/);
      const { text, tookMs } = await firstAnswer(Number(local), startedMs);
      expect(text).toBe('hello from the first machine');
      expect(tookMs).toBeLessThan(FIRST_BYTE_MS);
      await forward.end();
      await publish.end();
    },
    120_000,
  );
});
