// A node for as long as a command runs: its start, its control socket, signals, and its end.

import { once } from 'node:events';
import { isDeepStrictEqual } from 'node:util';
import { codeOf } from '../../errors.js';
import { createNode, type Node } from '../../node/node.js';
import { loadCommands } from '../catalog.js';
import type { Context } from '../command.js';
import type { Hosted } from '../control/hosting.js';
import { AlreadyRunning, ControlServer } from '../control/server.js';
import { ExitCode, Failure, lineOf } from '../failure.js';
import { kebab } from '../flags.js';
import { logNode } from '../node-log.js';
import { firstLink } from './first-link.js';
import {
  type ChosenNetwork,
  DEFAULT_TIMEOUT_MS,
  enrolIfNeeded,
  isIssuer,
  membershipOf,
  type NodeValues,
  nodeOptionsOf,
} from './network.js';
import { NODE_FLAGS } from './node-flags.js';
import { NodeOverlay } from './overlay.js';
import type { NodeWork, Task } from './task.js';
import { TaskSet } from './task-set.js';

/** Where an issuer listens by default: others need a way in. */
export const DEFAULT_PORT = 7400;
const DEFAULT_DRAIN_MS = 30_000;
/** A drain that takes longer says what it waits for. */
const NOTICE_MS = 500;

export interface NodeRunOptions {
  /** Waits for a link, and fails without one in time. Default false. */
  readonly needsLink?: boolean;
  /** A node that only uses what others offer, and neither relays nor announces anything. Default false. */
  readonly isClient?: boolean;
  /** A node through which no circuits of others pass, unless the user says so, or it listens for links. Default false. */
  readonly isLeaf?: boolean;
  /** Reads the configuration again, and returns the tasks that it asks for. */
  readonly reload?: () => Promise<readonly Task[]>;
}

/** Called when all tasks work, with those that do: their status says where they listen. */
export type OnStarted = (tasks: readonly Task[]) => void | Promise<void>;

export class NodeRun {
  readonly node: Node;
  readonly overlay: NodeOverlay;
  private readonly tasks: TaskSet;
  private readonly startedAt = new Date();
  private readonly listeners: string[] = [];
  private isLinking = false;
  private readonly role: string | undefined;
  private isEnding = false;
  private fail: (error: Error) => void = () => {};
  private readonly failed: Promise<never>;

  private constructor(
    private readonly context: Context,
    private readonly network: ChosenNetwork,
    private readonly values: NodeValues,
    private readonly options: NodeRunOptions,
    private readonly control: ControlServer,
  ) {
    const own = nodeOptionsOf(network, values);
    const role = own.role ?? (options.isClient ? 'client' : undefined);
    this.role = role;
    const listens = values.listen === undefined ? isIssuer(network.credentials) : values.listen.length > 0;
    this.node = createNode({ ...own, role, relay: own.relay ?? (options.isLeaf && !listens ? false : undefined) });
    this.overlay = new NodeOverlay(this.node);
    this.failed = new Promise<never>((_resolve, reject) => {
      this.fail = reject;
    });
    // The wait for it begins later, with the tasks.
    this.failed.catch(() => {});
    this.tasks = new TaskSet({ overlay: this.overlay, log: context.log, fail: (error) => this.fail(error) });
    logNode(context.log, this.node, { isQuiet: () => this.isLinking });
    const name = membershipOf(network)?.name;
    if (values.name !== undefined && name !== undefined && values.name !== name) {
      context.log.warn(`--name ${values.name} has no effect: this machine is a member already, called ${name}`);
    }
  }

  /**
   * Starts a node of the network, of which this machine becomes a member before if there is a token. Returns undefined when another process runs one with the same credentials.
   * @throws Failure, or an error with a code
   */
  static async start(
    context: Context,
    network: ChosenNetwork,
    values: NodeValues,
    options: NodeRunOptions = {},
  ): Promise<NodeRun | undefined> {
    const control = new ControlServer(network.home.controlSocket(network.key));
    try {
      await control.listen();
    } catch (error) {
      if (error instanceof AlreadyRunning) return undefined;
      throw error;
    }
    let run: NodeRun | undefined;
    try {
      // With the control socket: of two commands that are started together, one uses the token, and the other one its node.
      await enrolIfNeeded(network, values);
      run = new NodeRun(context, network, values, options, control);
      await run.begin();
      return run;
    } catch (error) {
      await run?.node.close();
      await control.close();
      throw error;
    }
  }

  private async begin(): Promise<void> {
    const { node, control, values, network } = this;
    for (const address of this.values.listen ?? []) await this.listen(address);
    if (values.listen === undefined && isIssuer(network.credentials)) await this.listenSomewhere();
    const offers = (values.role ?? (this.options.isClient ? 'client' : '')) !== 'client';
    control.serve({
      node,
      offers,
      status: () => this.status(),
      reload: () => this.reload(),
      start: (work, onFailed) => this.host(work, onFailed),
    });
    if (!this.options.needsLink) return;
    this.isLinking = true;
    await firstLink(node, values.timeout ?? DEFAULT_TIMEOUT_MS, network.credentials);
    this.isLinking = false;
  }

  /** Where it listens for links. */
  get addresses(): readonly string[] {
    return this.listeners;
  }

  /** Runs tasks until a signal ends the process. Returns the exit code. @throws what a task fails with */
  async work(tasks: readonly Task[], onStarted: OnStarted = () => {}): Promise<number> {
    const ended = endOf(process, this.options.reload === undefined ? [...ENDS, 'SIGHUP'] : ENDS);
    const onHangUp = () => {
      if (this.options.reload !== undefined && !this.isEnding)
        void this.reload().catch((error) => this.context.log.error(lineOf(error)));
    };
    // To the end: a drain is not to be cut short by it.
    process.on('SIGHUP', onHangUp);
    try {
      const started = this.tasks.replace(tasks).then(() => onStarted(tasks));
      const first = await Promise.race([this.failed, ended, started.then(() => undefined)]);
      if (first === undefined) await Promise.race([this.failed, ended]);
    } catch (error) {
      this.isEnding = true;
      await this.close();
      throw error;
    }
    this.isEnding = true;
    await this.drain();
    return ExitCode.OK;
  }

  /** Ends what it can at once. */
  async close(): Promise<void> {
    await this.tasks.stop(AbortSignal.abort());
    await this.node.close();
    await this.control.close();
  }

  /** Withdraws services, lets open streams end, and closes. A second signal ends the process at once. */
  private async drain(): Promise<void> {
    const timeoutMs = this.values.drainTimeout ?? DEFAULT_DRAIN_MS;
    const { node } = this;
    const deadline = AbortSignal.timeout(Math.max(1, timeoutMs));
    endAtOnce(process);
    const notice = setTimeout(() => {
      const { streams } = node.stats();
      const open = streams.links + streams.loopback;
      this.context.output.note(`starlane: waiting for ${open} open streams; once more to end at once`);
    }, NOTICE_MS);
    const drained = node.drain({ timeoutMs: Math.max(1, timeoutMs) }).catch(() => {});
    await this.tasks.stop(deadline);
    await drained;
    clearTimeout(notice);
    await node.close();
    await this.control.close();
  }

  /** Reads the configuration again, and changes the tasks that differ. */
  private async reload(): Promise<void> {
    const { reload } = this.options;
    const { log } = this.context;
    if (reload === undefined) throw new Failure('there is nothing to reload: starlane up does that', ExitCode.USAGE);
    const tasks = await reload();
    const changed = changedFlags(this.values, this.context.config.shared(NODE_FLAGS));
    if (changed.length > 0)
      log.warn(`${changed.join(', ')}: the change needs a restart, this node goes on with the old value`);
    await this.tasks.replace(tasks);
    log.info('reloaded the configuration');
  }

  /** Does the work of another command. */
  private async host(work: NodeWork, onFailed: (error: Error) => void): Promise<Hosted> {
    const { context } = this;
    const command = (await loadCommands()).find(({ name }) => name === work.command);
    const task = command?.task?.(work.key, work.values as never, context);
    if (task?.nodeWork === undefined) throw new Failure(`${work.command} is not for the process with the node`);
    await this.tasks.host(task, onFailed);
    return { status: () => task.status(), stop: () => this.tasks.unhost(task) };
  }

  private async listen(address: string): Promise<void> {
    const listener = await this.node.listenAndServe(address);
    this.listeners.push(listener.address);
  }

  /** Listens at the usual port, else at one that follows from the node and so stays the same, else at any. */
  private async listenSomewhere(): Promise<void> {
    const own = 20_000 + (Buffer.from(this.node.id, 'base64url').readUInt16BE() % 20_000);
    for (const port of [DEFAULT_PORT, own, 0]) {
      try {
        await this.listen(`tls://:${port}`);
        if (port !== DEFAULT_PORT) {
          this.context.log.warn(
            `port ${DEFAULT_PORT} is in use: listening at ${this.listeners.at(-1)} instead; others need that one`,
          );
        }
        return;
      } catch (error) {
        if (codeOf(error) !== 'EADDRINUSE') throw error;
      }
    }
  }

  private status(): unknown {
    const { node, network, listeners, context } = this;
    const { state, uptimeMs } = node.stats();
    const { name, networkId } = membershipOf(network) ?? {};
    return {
      id: node.id,
      name: name ?? null,
      network: networkId ?? null,
      role: this.role ?? 'peer',
      state,
      pid: process.pid,
      since: this.startedAt.toISOString(),
      uptimeMs,
      credentials: network.credentials ?? null,
      config: context.config.path ?? null,
      listen: listeners,
      links: node.links(),
      tasks: [...this.tasks.status(), ...this.control.sharedTasks],
    };
  }
}

const ENDS = ['SIGINT', 'SIGTERM'] as const;

/** Resolves with the first signal that asks the process to end. */
function endOf(from: NodeJS.Process, signals: readonly NodeJS.Signals[]): Promise<string> {
  return Promise.race(signals.map((signal) => once(from, signal).then(() => signal)));
}

/** Returns the keys of the file whose values differ. */
function changedFlags(before: NodeValues, after: NodeValues): string[] {
  return (Object.keys(after) as (keyof NodeValues)[])
    .filter((name) => !isDeepStrictEqual(before[name], after[name]))
    .map(kebab);
}

/** Ends the process with the next such signal, as shells expect it: 128 and the number of the signal. */
function endAtOnce(of: NodeJS.Process): void {
  of.once('SIGINT', () => of.exit(130));
  of.once('SIGTERM', () => of.exit(143));
}

/** Returns the failure for a command that must be the only one with these credentials. */
export function runsAlready(network: ChosenNetwork): Failure {
  const what = network.credentials ?? network.key;
  return new Failure(`a node with ${what} runs already; see starlane status`, ExitCode.BUSY);
}
