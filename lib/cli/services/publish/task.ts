// Publishes a port or a unix socket: bound while the service is healthy, with the program that offers it if there is one.

import type { Socket } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import type { AllowRequest } from '../../../options/allow.js';
import { reset } from '../../../socket/passage.js';
import { lineOf } from '../../failure.js';
import { Passages } from '../../local/passages.js';
import type { OverlayServer, OverlaySocket } from '../../run/overlay.js';
import type { Task, TaskHost } from '../../run/task.js';
import { environmentFor } from './environment.js';
import { HealthCheck } from './health-check.js';
import { filledIn, freePort, type PublishOptions } from './options.js';
import { Program } from './program.js';
import { proxyHeader } from './proxy-header.js';
import type { ProgramEnd } from './restarts.js';
import { connectTo, nameOf, reasonOf, type Target } from './target.js';

/** A dial waits no longer for a server that does not answer. */
const CONNECT_MS = 4_000;

type Environment = Readonly<Record<string, string | undefined>>;

/** What is left to do when the one service of a command has come to its end. */
export interface PublishOwner {
  /** The program has ended, and is not to be started again. */
  onProgramEnd(end: ProgramEnd): void;
  /** The service cannot be bound. */
  onFault(error: Error): void;
}

interface Prepared {
  readonly local: Socket;
  readonly request: AllowRequest;
}

export class PublishTask implements Task {
  readonly title: string;
  private host: TaskHost | undefined;
  private target: Target;
  private server: OverlayServer | undefined;
  private wantsBound = false;
  private isStarting = true;
  /** Binds and unbinds take turns. */
  private turn: Promise<void> = Promise.resolve();
  private lastTurn: Promise<void> = this.turn;
  private check: HealthCheck | undefined;
  private program: Program | undefined;
  private readonly passages = new Passages(() => {});
  private readonly connecting = new Set<AbortController>();
  private refused = 0;
  private lastFault: string | undefined;
  private isStopped = false;

  /** @param owner the command that does nothing else */
  constructor(
    private options: PublishOptions,
    private readonly environment: Environment,
    private readonly owner?: PublishOwner,
  ) {
    this.title = `publish ${options.name}`;
    this.target = options.target as Target;
  }

  /** Where the local server is; with the port that was found for it, once started. */
  get place(): Target {
    return this.target;
  }

  async start(host: TaskHost): Promise<void> {
    this.host = host;
    try {
      await this.begin();
      // A name that cannot be bound is an error of the start.
      if (this.wantsBound) await this.lastTurn;
    } catch (error) {
      this.isStopped = true;
      this.check?.stop();
      await this.program?.stop();
      throw error;
    } finally {
      this.isStarting = false;
    }
  }

  async update(next: Task): Promise<boolean> {
    if (!(next instanceof PublishTask)) return false;
    const { options: old, host } = this;
    const { options } = next;
    if (isDeepStrictEqual(comparable(old), comparable(options))) return true;
    const isSame = (...keys: ReadonlyArray<keyof PublishOptions>) =>
      keys.every((key) => isDeepStrictEqual(comparable(old)[key], comparable(options)[key]));
    this.options = options;
    host?.log.info(`${this.title}: changed`);
    const isSameTarget = isSame('target');
    if (!isSame('program') || (options.program !== undefined && !isSameTarget)) {
      this.check?.stop();
      this.check = undefined;
      this.setBound(false);
      await this.program?.stop();
      this.program = undefined;
      this.target = options.target as Target;
      await this.begin();
      return true;
    }
    // Streams that are open go on with the old server.
    if (!isSameTarget) this.target = options.target as Target;
    if (!isSameTarget || !isSame('check')) {
      this.check?.stop();
      this.check = undefined;
      this.lastFault = undefined;
      if (options.check !== undefined) this.startCheck();
      else this.setBound(true);
    }
    if (!isSame('bind') && this.wantsBound) await this.rebind();
    return true;
  }

  async stop(signal: AbortSignal): Promise<void> {
    this.isStopped = true;
    this.check?.stop();
    for (const aborter of this.connecting) aborter.abort(new Error('the service is closing'));
    this.setBound(false);
    await this.turn;
    await this.passages.ended(signal);
    await this.program?.stop();
  }

  status(): Record<string, unknown> {
    const { check, program, server, passages, refused, lastFault, options } = this;
    const fault = check === undefined ? lastFault : check.fault;
    return {
      to: nameOf(this.target),
      state: server !== undefined ? 'published' : check?.isHealthy === true ? 'starting' : 'unhealthy',
      ...(fault === undefined ? {} : { fault }),
      ...(options.check === undefined ? {} : { check: options.check.name }),
      ...passages.status(),
      refused,
      ...program?.status(),
    };
  }

  private async begin(): Promise<void> {
    const { options, target } = this;
    if (options.check === undefined) this.check = undefined;
    if (options.program === undefined) {
      if (options.check === undefined) this.setBound(true);
      else this.startCheck();
      return;
    }
    if (target.unix === undefined && target.port === 0) this.target = { ...target, port: await freePort(target.host) };
    await this.startProgram();
  }

  private async startProgram(): Promise<void> {
    const { options, environment, title, target } = this;
    const { command, passEnv, ...terms } = options.program as NonNullable<PublishOptions['program']>;
    const { host, port, unix } = target;
    const more = unix === undefined ? { PORT: String(port), HOST: host } : { SOCKET: unix };
    const program = new Program(
      { ...terms, command: filledIn(command, port, unix), env: environmentFor(environment, passEnv, more) },
      {
        title,
        name: options.name,
        log: (this.host as TaskHost).log,
        onUp: () => {
          if (this.isStopped || this.program !== program) return;
          if (this.options.check === undefined) this.setBound(true);
          else this.startCheck();
        },
        onDown: (reason) => {
          if (this.program !== program) return;
          if (this.check !== undefined) this.check.fail(reason);
          else {
            this.lastFault = reason;
            this.setBound(false);
          }
        },
        onEnd: (end) => this.owner?.onProgramEnd(end),
      },
    );
    this.program = program;
    await program.start();
  }

  private startCheck(): void {
    const { options, host, title } = this;
    const { check: terms } = options;
    if (terms === undefined) return;
    let isFirst = this.check === undefined;
    this.check ??= new HealthCheck(
      () => this.target,
      terms,
      (isHealthy, fault) => {
        const what = nameOf(this.target);
        if (isHealthy) host?.log.info(`${title}: ${what} is healthy`);
        else if (isFirst) host?.log.info(`${title}: waits for ${what} (${fault})`);
        else host?.log.warn(`${title}: ${what} is unhealthy: ${fault}`);
        isFirst = false;
        this.setBound(isHealthy);
      },
    );
    this.check.start();
  }

  // --- bound or not ---

  private setBound(wants: boolean): void {
    if (wants && this.isStopped) return;
    if (wants === this.wantsBound) return;
    this.wantsBound = wants;
    // At once: from now on nobody is to dial here.
    const closed = wants ? undefined : this.unbind();
    this.reconcile(closed).catch((error) => {
      const { host, title } = this;
      this.lastFault = lineOf(error);
      if (this.owner !== undefined) this.owner.onFault(error);
      else if (!this.isStarting) host?.log.error(`${title}: ${lineOf(error)}`);
    });
  }

  /** Binds or unbinds, after what is under way. */
  private reconcile(before?: Promise<void>): Promise<void> {
    const done = this.turn.then(async () => {
      await before;
      if (!this.wantsBound) await this.unbind();
      else if (this.server === undefined) await this.bind();
    });
    this.turn = done.catch(() => {});
    this.lastTurn = done;
    return done;
  }

  private async bind(): Promise<void> {
    const { options, host } = this;
    if (host === undefined) return;
    this.server = await host.overlay.bind<Prepared>(
      options.name,
      { ...options.bind, prepare: (request, signal) => this.prepare(request, signal) },
      (socket, prepared) => this.onSocket(socket, prepared),
    );
  }

  private async unbind(): Promise<void> {
    const { server } = this;
    this.server = undefined;
    await server?.close();
  }

  /** Binds with other terms, without a moment in between in which others see it gone. Open streams go on. */
  private rebind(): Promise<void> {
    return this.reconcile(this.unbind());
  }

  // --- circuits ---

  /** Connects to the local server before the circuit is accepted: if that fails, the dialler tries another instance. */
  private async prepare(request: AllowRequest, signal: AbortSignal): Promise<Prepared> {
    const { target } = this;
    const aborter = new AbortController();
    const timer = setTimeout(() => aborter.abort(new Error(`no answer within ${CONNECT_MS / 1000} s`)), CONNECT_MS);
    this.connecting.add(aborter);
    signal.addEventListener('abort', () => aborter.abort(new Error('the caller has gone')), { once: true });
    try {
      const local = await connectTo(target, aborter.signal);
      // The caller may go before the circuit is accepted.
      signal.addEventListener('abort', () => local.destroy(), { once: true });
      if (signal.aborted) local.destroy();
      this.onReached(undefined);
      return { local, request };
    } catch (error) {
      this.refused++;
      if (!signal.aborted) this.onReached(reasonOf(error));
      throw new Error(`the server behind ${this.options.name} does not answer (${reasonOf(error)})`);
    } finally {
      clearTimeout(timer);
      this.connecting.delete(aborter);
    }
  }

  /** Logs changes only. */
  private onReached(fault: string | undefined): void {
    if (fault === this.lastFault) return;
    this.lastFault = fault;
    if (this.check !== undefined || this.isStopped) return;
    const what = `${this.title}: ${nameOf(this.target)}`;
    if (fault === undefined) this.host?.log.info(`${what} answers again`);
    else this.host?.log.warn(`${what} does not answer: ${fault}`);
  }

  private onSocket(socket: OverlaySocket, { local, request }: Prepared): void {
    if (local.destroyed) {
      reset(socket);
      return;
    }
    const { proxyProtocol } = this.options;
    const { overlay } = this.host as TaskHost;
    if (proxyProtocol !== undefined) {
      local.write(
        proxyHeader(proxyProtocol, request, overlay.id, this.target.unix === undefined ? this.target.port : 0),
      );
    }
    this.passages.join(local, socket);
  }
}

/** Options without their functions, which are new each time. */
function comparable(options: PublishOptions): Record<keyof PublishOptions, unknown> {
  const { check } = options;
  return { ...options, check: check === undefined ? undefined : { ...check, probe: undefined } };
}
