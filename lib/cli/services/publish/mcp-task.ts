// Publishes an MCP server that talks over its standard input and output (modelcontextprotocol.io, transport stdio): one process for each
// caller, started when the caller dials, and ended when it goes.

import { pipeline } from 'node:stream';
import { isDeepStrictEqual } from 'node:util';
import type { OverlayServer, OverlaySocket } from '../../run/overlay.js';
import type { Task, TaskHost } from '../../run/task.js';
import { environmentFor } from './environment.js';
import { JsonLines } from './json-lines.js';
import type { PublishOptions, RunTerms } from './options.js';
import { eachLine, ProcessGroup } from './process-group.js';
import { endInWords } from './restarts.js';
import { reasonOf } from './target.js';

type Environment = Readonly<Record<string, string | undefined>>;

/** The time that a server has to end by itself when its standard input has ended. */
const LEAVE_MS = 2_000;

export class McpTask implements Task {
  readonly title: string;
  private host: TaskHost | undefined;
  private server: OverlayServer | undefined;
  private readonly processes = new Set<ProcessGroup>();
  /** Including processes that are being started. */
  private running = 0;
  private started = 0;
  private refused = 0;

  constructor(
    private options: PublishOptions & { readonly program: RunTerms },
    private readonly environment: Environment,
  ) {
    this.title = `publish ${options.name}`;
  }

  async start(host: TaskHost): Promise<void> {
    this.host = host;
    const { name, bind } = this.options;
    this.server = await host.overlay.bind<ProcessGroup>(
      name,
      { ...bind, prepare: (_request, signal) => this.prepare(signal) },
      (socket, process) => this.onSocket(socket, process),
    );
  }

  async update(next: Task): Promise<boolean> {
    if (!(next instanceof McpTask)) return false;
    const isSameBind = isDeepStrictEqual(this.options.bind, next.options.bind);
    // Servers that run go on.
    this.options = next.options;
    if (isSameBind) return true;
    const closed = this.server?.close();
    await Promise.all([closed, this.start(this.host as TaskHost)]);
    return true;
  }

  async stop(signal: AbortSignal): Promise<void> {
    await this.server?.close();
    const end = () => {
      for (const process of this.processes) void process.stop();
    };
    if (signal.aborted) end();
    else signal.addEventListener('abort', end, { once: true });
    await Promise.all([...this.processes].map(({ ended }) => ended));
  }

  status(): Record<string, unknown> {
    const { running, started, refused, options } = this;
    return { to: 'MCP servers', state: 'published', open: running, most: options.maxProcesses, started, refused };
  }

  private async prepare(signal: AbortSignal): Promise<ProcessGroup> {
    const { options, environment, host, title } = this;
    const { command, passEnv, stopTimeoutMs } = options.program;
    if (this.running >= options.maxProcesses) {
      this.refused++;
      throw new Error(`${options.name} has as many callers as it may (--max-processes ${options.maxProcesses})`);
    }
    this.running++;
    let process: ProcessGroup;
    try {
      const env = environmentFor(environment, passEnv, {});
      process = await ProcessGroup.start(command, { env, stdin: 'pipe', stopTimeoutMs });
    } catch (error) {
      this.running--;
      this.refused++;
      host?.log.error(`${title}: cannot start its server: ${reasonOf(error)}`);
      throw new Error(`the MCP server cannot be started (${reasonOf(error)})`);
    }
    this.started++;
    this.processes.add(process);
    host?.log.debug(`${title}: started a server, pid ${process.pid}`);
    const { stderr } = process.child;
    if (stderr !== null) eachLine(stderr, (line) => host?.log.output(options.name, 'stderr', line));
    void process.ended.then((end) => {
      this.running--;
      this.processes.delete(process);
      if (end.code !== 0 && end.signal !== 'SIGTERM')
        host?.log.warn(`${title}: a server has ended: ${endInWords(end)}`);
    });
    signal.addEventListener('abort', () => void process.stop(), { once: true });
    if (signal.aborted) void process.stop();
    return process;
  }

  private onSocket(socket: OverlaySocket, process: ProcessGroup): void {
    const { host, options } = this;
    const { stdin, stdout } = process.child;
    if (stdin === null || stdout === null) return;
    const lines = new JsonLines((line) => host?.log.output(options.name, 'stdout', line));
    // What the caller sends ends with its half; a server ends by itself then.
    pipeline(socket, stdin, () => {});
    pipeline(stdout, lines, socket, () => {});
    socket.once('close', () => {
      stdin.end();
      const timer = setTimeout(() => void process.stop(), LEAVE_MS);
      void process.ended.then(() => clearTimeout(timer));
    });
  }
}
