// Builds, starts and commands the Go program in ./peer: hashicorp/yamux as Debian packages it.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Child, type Line } from '../support/child.js';

/** Where Debian's golang-github-hashicorp-yamux-dev puts its sources. */
const GOPATH = '/usr/share/gocode';
const SOURCE = fileURLToPath(new URL('./peer', import.meta.url));
const BUILD_DEADLINE_MS = 120_000;

/** Why there can be no Go peer here, or undefined. */
export function missingForGoPeer(): string | undefined {
  if (!existsSync(join(GOPATH, 'src/github.com/hashicorp/yamux/session.go'))) {
    return 'hashicorp/yamux missing: apt-get install golang-github-hashicorp-yamux-dev';
  }
  if (spawnSync('go', ['version']).status !== 0) return 'go missing: apt-get install golang-go';
  return undefined;
}

/** Builds the peer into its own temporary directory; {@link GoPeerProgram.remove} deletes it. */
export class GoPeerProgram {
  private readonly directory = mkdtempSync(join(tmpdir(), 'starlane-go-peer-'));
  readonly path = join(this.directory, 'peer');

  constructor() {
    const build = spawnSync('go', ['build', '-o', this.path, '.'], {
      cwd: SOURCE,
      encoding: 'utf8',
      timeout: BUILD_DEADLINE_MS,
      // The package is found in GOPATH mode, without modules and without the network.
      env: { ...process.env, GO111MODULE: 'off', GOPATH, GOFLAGS: '', GOPROXY: 'off' },
    });
    if (build.status !== 0) {
      this.remove();
      throw new Error(`go build failed: ${build.error?.message ?? ''}${build.stderr}`);
    }
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

export interface GoPeerOptions {
  role: 'client' | 'server';
  /** Connect to this port of 127.0.0.1; without it, listen on a free one. */
  connectPort?: number;
  /** Streams that may wait to be accepted, and so also opens it leaves unacknowledged; 256. */
  backlog?: number;
  /** Receive window per stream in bytes; 262,144. */
  windowBytes?: number;
  /** Time between its pings; none without it. */
  keepAliveMs?: number;
  /** How long it waits for a ping to be answered; 20,000. */
  writeTimeoutMs?: number;
  /** Accept no stream before the command accept. */
  gated?: boolean;
}

/** What the peer saw on the wire: frames by type and flags, such as 'window SYN' or 'data'. */
export interface GoPeerStats {
  streams: number;
  received: Record<string, number>;
  sent: Record<string, number>;
  receivedBytes: number;
  /** The maximum of our streams that it had seen opened and had sent no frame for. */
  maxUnansweredStreams: number;
}

export class GoPeer extends Child {
  private lastId = 0;

  constructor(program: GoPeerProgram, options: GoPeerOptions) {
    const args = [`-role=${options.role}`];
    if (options.connectPort === undefined) args.push('-listen=127.0.0.1:0');
    else args.push(`-connect=127.0.0.1:${options.connectPort}`);
    if (options.backlog !== undefined) args.push(`-backlog=${options.backlog}`);
    if (options.windowBytes !== undefined) args.push(`-window-bytes=${options.windowBytes}`);
    if (options.keepAliveMs !== undefined) args.push(`-keepalive-ms=${options.keepAliveMs}`);
    if (options.writeTimeoutMs !== undefined) args.push(`-write-timeout-ms=${options.writeTimeoutMs}`);
    if (options.gated) args.push('-gated');
    super(program.path, args);
  }

  /** The port it listens on. */
  async port(): Promise<number> {
    const line = await this.event('listening');
    return line.port as number;
  }

  event(name: string, matches: (line: Line) => boolean = () => true): Promise<Line> {
    return this.waitFor(`event ${name}`, (line) => line.event === name && matches(line));
  }

  /** Runs a command in the peer and returns its answer, which may be an `error`. */
  async run(command: string, args: Line = {}): Promise<Line> {
    const id = ++this.lastId;
    this.send({ id, command, ...args });
    return this.waitFor(`answer to ${command}`, (line) => line.id === id);
  }

  async stats(): Promise<GoPeerStats> {
    return (await this.run('stats')) as unknown as GoPeerStats;
  }

  /**
   * What the library complained about, less what two sides that end at once cannot avoid: credit for a stream that has
   * just closed, and an answer to a ping that the end of the connection overtakes.
   */
  complaints(): string[] {
    return this.lines
      .filter((line) => line.event === 'log')
      .map((line) => line.text as string)
      .filter(
        (text) => !/missing stream: Vsn:0 Type:1 Flags:0 |failed to send ping reply: session shutdown/.test(text),
      );
  }
}
