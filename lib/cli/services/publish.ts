// starlane publish

import { connect, type Socket } from 'node:net';
import { type Context, defineCommand } from '../command.js';
import { join } from '../control/server.js';
import { usage } from '../failure.js';
import { flag, type ValuesOf } from '../flags.js';
import { makeNetwork } from '../network/init.js';
import { chooseNetwork, isIssuer } from '../run/network.js';
import type { OverlayServer, OverlaySocket } from '../run/overlay.js';
import type { Task, TaskHost } from '../run/task.js';
import { nodeValues, useChosen } from '../run/use-network.js';

const FLAGS = {
  port: flag.integer('the port of this machine where the program listens', { min: 1, max: 65_535 }),
  host: flag.text('the host where the program listens', { value: 'HOST', otherwise: '127.0.0.1' }),
  unix: flag.text('the unix socket where the program listens', { value: 'PATH' }),
  weight: flag.integer('the share of dials, relative to other instances', { min: 0, max: 255, otherwise: '1' }),
  allow: flag.list('names of members that may dial, with asterisks', { value: 'PATTERN', otherwise: '*' }),
  invite: flag.boolean('print a token for another machine', { otherwise: 'false', inFile: false }),
} as const;

type Values = ValuesOf<typeof FLAGS>;

class PublishTask implements Task {
  readonly title: string;
  private server: OverlayServer | undefined;
  private readonly sockets = new Set<Socket>();
  private accepted = 0;

  constructor(
    private readonly name: string,
    private readonly values: Values,
  ) {
    this.title = `publish ${name}`;
    if ((values.port === undefined) === (values.unix === undefined))
      throw usage(`${this.title}: needs --port or --unix`);
  }

  async start({ overlay }: TaskHost): Promise<void> {
    const { weight, allow } = this.values;
    this.server = await overlay.bind(this.name, { weight, allow }, (socket) => this.onSocket(socket));
  }

  async stop(signal: AbortSignal): Promise<void> {
    await this.server?.close();
    const ended = Promise.all(
      [...this.sockets].map((socket) => new Promise((resolve) => socket.once('close', resolve))),
    );
    const end = () => {
      for (const socket of this.sockets) socket.destroy();
    };
    if (signal.aborted) end();
    else signal.addEventListener('abort', end, { once: true });
    await ended;
  }

  status(): Record<string, unknown> {
    const { port, unix, host = '127.0.0.1' } = this.values;
    return { to: unix ?? `${host}:${port}`, open: this.sockets.size, accepted: this.accepted };
  }

  private onSocket(socket: OverlaySocket): void {
    this.accepted++;
    const { port, unix, host = '127.0.0.1' } = this.values;
    const target =
      unix === undefined ? { port: port as number, host, allowHalfOpen: true } : { path: unix, allowHalfOpen: true };
    const local = connect(target);
    this.sockets.add(local);
    local.once('close', () => this.sockets.delete(local));
    join(local, socket);
  }
}

export const publish = defineCommand({
  name: 'publish',
  summary: 'offer a port of this machine as a service',
  description: 'If there is no network yet, it makes one, and prints a token for another machine.',
  args: [{ name: 'NAME', about: 'the name of the service' }],
  usesNode: true,
  section: 'entries',
  flags: FLAGS,
  examples: [
    { line: 'starlane publish web --port 3000', about: 'what listens at port 3000' },
    {
      line: "starlane publish db --unix /run/postgresql/.s.PGSQL.5432 --allow 'app-*'",
      about: 'for some members only',
    },
  ],
  task: (name, values) => new PublishTask(name, values as Values),
  async run(context: Context, [name], values) {
    const task = new PublishTask(name, values);
    const nodeOptions = nodeValues(context);
    let network = chooseNetwork(nodeOptions, context.environment);
    const isNew =
      network.credentials === undefined &&
      network.token === undefined &&
      network.seeds.length === 0 &&
      network.key.startsWith('process ');
    if (isNew) {
      makeNetwork(context, nodeOptions);
      network = chooseNetwork(nodeOptions, context.environment);
    }
    const access = await useChosen(context, network, nodeOptions, { needsLink: !isIssuer(network.credentials) });
    const { output } = context;
    return access.work([task], async () => {
      const wantsToken = isNew || values.invite === true;
      const token = wantsToken && access.run !== undefined ? await access.run.node.invite({ name: '*' }) : undefined;
      output.json({ service: name, node: access.overlay.id, ...(token === undefined ? {} : { token }) });
      output.line(`published ${name}`);
      if (token === undefined) return;
      output.line('For another machine, once, within 15 minutes:');
      output.line(`  starlane forward ${values.port ?? 8080}:${name} --join ${token}`);
    });
  },
});
