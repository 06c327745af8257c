// A server that is a program of the system: it runs in its own temporary folder, is awaited until it is ready, and is
// removed with its folder.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import net, { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { within } from '../support/deadline.js';
import { describeUnless } from '../support/obstacle.js';

/** Databases refuse to run as root; this is the user nobody of Debian. */
const NOBODY = { uid: 65_534, gid: 65_534 };
const OUTPUT_CHARACTERS = 4000;
const START_DEADLINE_MS = 60_000;
const STOP_DEADLINE_MS = 15_000;

const running = new Set<ServerProgram>();

// Tests that are torn down in the middle leave nothing behind.
process.once('exit', () => {
  for (const program of running) program.discard();
});

/** The path of a program, looked for where Debian puts servers too; undefined when it is not there. */
export function findProgram(name: string): string | undefined {
  const postgres = '/usr/lib/postgresql';
  const versions = existsSync(postgres) ? readdirSync(postgres).sort((a, b) => Number(b) - Number(a)) : [];
  const folders = [
    ...(process.env['PATH'] ?? '').split(delimiter),
    '/usr/sbin',
    '/usr/local/sbin',
    ...versions.map((version) => join(postgres, version, 'bin')),
  ];
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
}

/** Declares specs that need programs of a Debian package. */
export function describeWithPrograms(
  title: string,
  { programs, debian }: { programs: readonly string[]; debian: string },
  specs: () => void,
): void {
  const missing = programs.filter((name) => findProgram(name) === undefined);
  const reason = `${missing.join(', ')} missing: apt-get install ${debian}`;
  describeUnless(missing.length === 0 ? undefined : { reason, isMissing: true }, title, specs);
}

export class ServerProgram {
  readonly folder = mkdtempSync(join(tmpdir(), 'starlane-server-'));
  private readonly user = process.getuid?.() === 0 ? NOBODY : {};
  private process: ChildProcess | undefined;
  private closed: Promise<void> = Promise.resolve();
  private output = '';

  constructor() {
    this.giveAway(this.folder);
    running.add(this);
  }

  /** Makes what the spec put into the folder the property of the server. */
  giveAway(path: string): void {
    if (this.user === NOBODY) chownSync(path, NOBODY.uid, NOBODY.gid);
  }

  /** Runs a program to its end, such as one that makes the files of a database. */
  async run(name: string, args: readonly string[]): Promise<void> {
    this.spawn(name, args);
    await within(`the end of ${name}`, this.closed, START_DEADLINE_MS);
    if (this.process?.exitCode !== 0) throw new Error(`${name} failed: ${this.output}`);
  }

  /** Starts the server and waits until what it prints matches `ready`, or until it accepts connections there. */
  async start(name: string, args: readonly string[], ready: RegExp | net.NetConnectOpts): Promise<void> {
    const child = this.spawn(name, args);
    const isReady = ready instanceof RegExp ? this.prints(child, ready) : this.accepts(child, ready);
    const isOver = this.closed.then(() => {
      throw new Error(`${name} ended: ${this.output}`);
    });
    isOver.catch(() => {}); // Later this is the requested end.
    try {
      await within(`${name} being ready`, Promise.race([isReady, isOver]), START_DEADLINE_MS);
    } catch (error) {
      this.discard();
      throw error;
    }
  }

  /** Ends the server and removes its folder. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    this.process?.kill(signal);
    try {
      await within('the end of a server', this.closed, STOP_DEADLINE_MS);
    } finally {
      this.discard();
    }
  }

  /** At once, without waiting. */
  discard(): void {
    running.delete(this);
    if (this.process?.exitCode === null) this.process.kill('SIGKILL');
    rmSync(this.folder, { recursive: true, force: true });
  }

  private prints(child: ChildProcess, text: RegExp): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (text.test(this.output)) resolve();
      };
      child.stdout?.on('data', look);
      child.stderr?.on('data', look);
    });
  }

  private async accepts(child: ChildProcess, at: net.NetConnectOpts): Promise<void> {
    while (child.exitCode === null && child.signalCode === null) {
      const socket = net.connect(at);
      try {
        await once(socket, 'connect');
        return;
      } catch {
        // Not yet.
      } finally {
        socket.destroy();
      }
    }
  }

  private spawn(name: string, args: readonly string[]): ChildProcess {
    this.output = '';
    const child = spawn(findProgram(name) ?? name, args, {
      ...this.user,
      cwd: this.folder,
      env: { PATH: process.env['PATH'], HOME: this.folder, LC_ALL: 'C' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.output = (this.output + text).slice(-OUTPUT_CHARACTERS);
      });
    }
    this.closed = new Promise((resolve) => {
      child.once('close', () => resolve());
      child.once('error', (error) => {
        this.output += error.message;
        resolve();
      });
    });
    this.process = child;
    return child;
  }
}

/** A port of `host` at which nothing listens. */
export async function freePort(host: string): Promise<number> {
  const probe = net.createServer();
  await once(probe.listen(0, host), 'listening');
  const { port } = probe.address() as AddressInfo;
  await once(probe.close(), 'close');
  return port;
}
