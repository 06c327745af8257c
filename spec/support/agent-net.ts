// Hosts with agents in this process, and others that ask them: members of one network, linked with the first node.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HostClient } from '../../lib/cli/agent/host-client.js';
import type { AgentValues } from '../../lib/cli/agent/options.js';
import type { AgentPart } from '../../lib/cli/agent/part.js';
import { AgentTask } from '../../lib/cli/agent/task.js';
import type { Context } from '../../lib/cli/command.js';
import type { Log } from '../../lib/cli/log.js';
import { NodeOverlay } from '../../lib/cli/run/overlay.js';
import type { Edge } from './graph-routes.js';
import { MemberNet } from './member-net.js';

/** A log that keeps its lines. */
export class KeptLog implements Log {
  readonly lines: string[] = [];
  debug = (): void => {};
  info = (line: string): void => void this.lines.push(line);
  warn = (line: string): void => void this.lines.push(line);
  error = (line: string): void => void this.lines.push(line);
  output = (source: string, _stream: string, line: string): void => void this.lines.push(`${source} | ${line}`);
}

export class AgentNet {
  readonly folder = mkdtempSync(join(tmpdir(), 'starlane-agents-'));
  readonly log = new KeptLog();
  private readonly tasks = new Map<number, AgentTask>();
  net!: MemberNet;

  /** Nodes `n0`, `n1` and so on; `tags` by their numbers. */
  static async of(size: number, tags: Readonly<Record<number, readonly string[]>> = {}): Promise<AgentNet> {
    const made = new AgentNet();
    const edges = Array.from({ length: size - 1 }, (_, index): Edge => [0, index + 1]);
    const members = Object.fromEntries(
      Array.from({ length: size }, (_, index) => [index, { name: `n${index}`, tags: [...(tags[index] ?? [])] }]),
    );
    made.net = await MemberNet.of(edges, { members });
    return made;
  }

  /** Starts an agent at a node. */
  async agent(at: number, values: Partial<AgentValues>, parts: readonly AgentPart[]): Promise<AgentTask> {
    const environment = { PATH: process.env['PATH'], STARLANE_HOME: join(this.folder, `home${at}`) };
    const config = { shared: () => ({}) };
    const context = { environment, log: this.log, config } as unknown as Context;
    const task = new AgentTask({ folder: join(this.folder, `agent${at}`), ...values } as AgentValues, context, parts);
    await task.start({
      overlay: new NodeOverlay(this.net.net.nodes[at]),
      log: this.log,
      fail: (error) => this.log.error(error.message),
    });
    this.tasks.set(at, task);
    return task;
  }

  async stop(at: number, signal = AbortSignal.timeout(20_000)): Promise<void> {
    await this.tasks.get(at)?.stop(signal);
    this.tasks.delete(at);
  }

  /** The agent at one node, as asked from another one. */
  client(from: number, to: number): HostClient {
    const { nodes } = this.net.net;
    return new HostClient(new NodeOverlay(nodes[from]), nodes[to].id);
  }

  async close(): Promise<void> {
    for (const at of [...this.tasks.keys()]) await this.stop(at, AbortSignal.abort());
    await this.net.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
