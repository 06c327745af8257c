// One run of a version of an app: its program, started again when it ends, and its services, published while they are healthy.

import { mkdirSync } from 'node:fs';
import { performanceNow } from '../../../util/runtime/real-timers.js';
import { lineOf } from '../../failure.js';
import type { Log } from '../../log.js';
import type { Overlay } from '../../run/overlay.js';
import type { TaskHost } from '../../run/task.js';
import { freePort } from '../../services/publish/options.js';
import { probeOf } from '../../services/publish/probe.js';
import { Program } from '../../services/publish/program.js';
import { PublishTask } from '../../services/publish/task.js';
import type { Manifest, ManifestService } from '../bundle/manifest.js';
import { inheritedFrom } from '../inherited.js';

const HOST = '127.0.0.1';

export interface RunPlace {
  /** The folder of the files. */
  readonly files: string;
  /** A folder that stays the same over versions. */
  readonly data: string;
}

export interface RunHost {
  readonly overlay: Overlay;
  /** What the agent says, and where the program prints. */
  readonly log: Log;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly passEnv: readonly string[];
  /** It runs with this process id, or has ended. */
  onProcess(pid: number | undefined): void;
}

export interface RunStatus {
  readonly state: 'starting' | 'healthy' | 'unhealthy' | 'down';
  readonly pid?: number | undefined;
  readonly restarts: number;
  readonly fault?: string | undefined;
  readonly services: ReadonlyArray<{
    readonly name: string;
    readonly state: string;
    readonly fault?: string | undefined;
  }>;
}

export class AppRun {
  private program: Program | undefined;
  private tasks: PublishTask[] = [];
  private readonly ports = new Map<string, number>();
  private upSinceMs: number | undefined;
  private wasHealthy = false;
  private fault: string | undefined;
  private isStopped = false;
  private turn: Promise<void> = Promise.resolve();

  constructor(
    private readonly manifest: Manifest,
    private readonly place: RunPlace,
    private readonly host: RunHost,
  ) {}

  /** Starts the program. @throws Failure when it cannot be started */
  async start(): Promise<void> {
    const { manifest, host, place } = this;
    for (const { port } of manifest.services) this.ports.set(port, await freePort(HOST));
    if (this.isStopped) return;
    mkdirSync(place.data, { recursive: true, mode: 0o700 });
    const title = `app ${manifest.app}`;
    const program = new Program(
      {
        command: manifest.command,
        cwd: place.files,
        env: this.environment(),
        restart: 'always',
        stopTimeoutMs: manifest.stopMs,
      },
      {
        title,
        name: manifest.app,
        log: host.log,
        onUp: () => {
          if (this.isStopped || this.program !== program) return;
          this.upSinceMs = performanceNow();
          this.fault = undefined;
          host.onProcess(program.status()['pid'] as number | undefined);
          this.change(() => this.publish());
        },
        onDown: (reason) => {
          this.upSinceMs = undefined;
          this.fault = reason;
          host.onProcess(undefined);
          this.change(() => this.unpublish(AbortSignal.abort()));
        },
        onEnd: () => {},
      },
    );
    this.program = program;
    await program.start();
    // It was stopped before there was anything to end.
    if (this.isStopped) await program.stop();
  }

  /** Withdraws the services, lets open streams end, and ends the program; at once when the signal is aborted. */
  async stop(signal: AbortSignal): Promise<void> {
    this.isStopped = true;
    await this.turn;
    await this.unpublish(signal);
    await this.program?.stop();
    this.upSinceMs = undefined;
    this.host.onProcess(undefined);
  }

  status(): RunStatus {
    const { program, tasks, manifest } = this;
    const { pid, restarts = 0 } = (program?.status() ?? {}) as { pid?: number; restarts?: number };
    const services = manifest.services.map(({ name }, index) => {
      const { state, fault } = (tasks[index]?.status() ?? { state: 'down' }) as { state: string; fault?: string };
      return { name, state, ...(fault === undefined ? {} : { fault }) };
    });
    const fault = this.fault ?? services.find(({ state }) => state !== 'published')?.fault;
    const isHealthy = this.isHealthy(services);
    if (isHealthy) this.wasHealthy = true;
    const state =
      this.upSinceMs === undefined ? 'down' : isHealthy ? 'healthy' : this.wasHealthy ? 'unhealthy' : 'starting';
    return {
      state,
      ...(pid === undefined ? {} : { pid }),
      restarts,
      ...(fault === undefined || isHealthy ? {} : { fault }),
      services,
    };
  }

  private isHealthy(services: RunStatus['services']): boolean {
    const { upSinceMs, manifest } = this;
    if (upSinceMs === undefined) return false;
    if (services.length === 0) return performanceNow() - upSinceMs >= manifest.health.settleMs;
    return services.every(({ state }) => state === 'published');
  }

  private environment(): Record<string, string | undefined> {
    const { manifest, host, place, ports } = this;
    const env: Record<string, string> = inheritedFrom(host.environment, host.passEnv);
    Object.assign(env, manifest.env, { HOST, DATA_FOLDER: place.data, APP_VERSION: manifest.version });
    for (const [name, port] of ports) env[name] = String(port);
    return env;
  }

  /** One change of what is published at a time. */
  private change(work: () => Promise<void>): void {
    this.turn = this.turn.then(work).catch((error) => {
      this.fault = lineOf(error);
      this.host.log.error(`app ${this.manifest.app}: ${this.fault}`);
    });
  }

  private async publish(): Promise<void> {
    if (this.isStopped) return;
    const { overlay, log } = this.host;
    const host: TaskHost = { overlay, log, fail: (error) => log.error(lineOf(error)) };
    this.tasks = this.manifest.services.map((service) => this.taskOf(service));
    for (const task of this.tasks) await task.start(host);
  }

  private async unpublish(signal: AbortSignal): Promise<void> {
    const tasks = this.tasks;
    this.tasks = [];
    await Promise.all(tasks.map((task) => task.stop(signal)));
  }

  private taskOf({ name, port, check, status }: ManifestService): PublishTask {
    const { intervalMs, timeoutMs, rise, fall } = this.manifest.health;
    const where = `app ${this.manifest.app}`;
    const bind = { weight: undefined, meta: undefined, instance: undefined, allow: undefined, allowTag: undefined };
    return new PublishTask(
      {
        name,
        bind,
        target: { host: HOST, port: this.ports.get(port) ?? 0, unix: undefined },
        program: undefined,
        check:
          check === 'none'
            ? undefined
            : { name: check, status, probe: probeOf(check, status, where), intervalMs, timeoutMs, rise, fall },
        proxyProtocol: undefined,
        maxProcesses: 1,
      },
      {},
      // The state of the task says what is wrong; the program goes on.
      {
        onProgramEnd: () => {},
        onFault: (error) => {
          this.fault = `${name}: ${lineOf(error)}`;
        },
      },
    );
  }
}
