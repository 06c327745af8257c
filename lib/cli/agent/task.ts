// The agent of a host: its service in the network, and its parts.

import { isInstanceName } from '../../address.js';
import { dateNow } from '../../util/runtime/real-timers.js';
import { VERSION } from '../../util/version.js';
import type { Context } from '../command.js';
import { lineOf } from '../failure.js';
import { type ChosenNetwork, chooseNetwork, membershipOf } from '../run/network.js';
import type { OverlayServer } from '../run/overlay.js';
import type { Task, TaskHost } from '../run/task.js';
import { nodeValues } from '../run/use-network.js';
import { AgentFolder } from './folder.js';
import { type AgentOptions, type AgentValues, agentOptions } from './options.js';
import type { AgentPart } from './part.js';
import { AGENT_PORT, AGENT_SERVICE, AgentPort } from './port.js';
import { type Route, Router } from './routes.js';
import { type Caller, RIGHTS } from './rules.js';

export class AgentTask implements Task {
  readonly title = 'agent';
  private options: AgentOptions;
  private readonly network: ChosenNetwork;
  private readonly folder: AgentFolder;
  private readonly port: AgentPort;
  private server: OverlayServer | undefined;
  private started: readonly AgentPart[] = [];
  private nodeId = '';

  /** @throws Failure */
  constructor(
    values: AgentValues,
    private readonly context: Context,
    private readonly parts: readonly AgentPart[],
  ) {
    this.options = agentOptions(values);
    this.network = chooseNetwork(nodeValues(context), context.environment);
    this.folder = AgentFolder.of(this.network.home, this.network.key, values.folder);
    const router = new Router([this.aboutRoute(), ...parts.flatMap(({ routes }) => routes)]);
    this.port = new AgentPort((...call) => router.handle(...call));
  }

  async start({ overlay, log }: TaskHost): Promise<void> {
    const task = this;
    const { folder, context } = this;
    this.nodeId = overlay.id;
    await folder.take();
    const host = {
      overlay,
      log,
      folder,
      environment: context.environment,
      get options() {
        return task.options;
      },
    };
    try {
      for (const part of this.parts) {
        this.started = [...this.started, part];
        await part.start(host);
      }
      const name = membershipOf(this.network)?.name;
      this.server = await overlay.bind<Caller>(
        `${AGENT_SERVICE}:${AGENT_PORT}`,
        {
          instance: isInstanceName(name) ? name : undefined,
          prepare: async ({ peer: { id, name, tags, verified } }) => ({ id, name, tags, verified }),
        },
        (socket, caller) => this.port.onSocket(socket, () => ({ caller, rights: this.options.rules.of(caller) })),
      );
    } catch (error) {
      await this.stop(AbortSignal.abort());
      throw error;
    }
    log.info(`agent: apps and jobs are in ${folder.path}`);
    const { rules, signers } = this.options;
    if (rules.give('deploy') && signers.length === 0)
      log.warn('agent: there is no --signers, so this host accepts no bundle; starlane deploy --init-key makes a key');
  }

  async update(next: Task): Promise<boolean> {
    if (!(next instanceof AgentTask) || next.folder.path !== this.folder.path) return false;
    this.options = next.options;
    for (const part of this.parts) part.onOptions?.();
    return true;
  }

  async stop(signal: AbortSignal): Promise<void> {
    this.port.drain();
    await this.server?.close();
    this.server = undefined;
    const ends = await Promise.allSettled(this.started.map((part) => part.stop(signal)));
    this.started = [];
    this.port.close();
    this.folder.release();
    for (const end of ends) if (end.status === 'rejected') this.context.log.error(`agent: ${lineOf(end.reason)}`);
  }

  status(): Record<string, unknown> {
    return Object.assign(
      { connections: this.port.size, folder: this.folder.path },
      ...this.parts.map((part) => part.status()),
    );
  }

  /** What the agent is, and what the caller may do here. */
  private aboutRoute(): Route {
    return {
      method: 'GET',
      path: '/v1/agent',
      handle: ({ rights, caller }) => ({
        id: this.nodeId,
        name: membershipOf(this.network)?.name,
        version: VERSION,
        timeMs: dateNow(),
        caller: { id: caller.id, name: caller.name, tags: caller.tags },
        rights: RIGHTS.filter((right) => rights.may(right)),
      }),
    };
  }
}
