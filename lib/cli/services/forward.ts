// starlane forward

import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { type Command, defineCommand } from '../command.js';
import { join } from '../control/server.js';
import { usage } from '../failure.js';
import { flag, type ValuesOf } from '../flags.js';
import type { Task, TaskHost } from '../run/task.js';
import { useNetwork } from '../run/use-network.js';

const FLAGS = {
  bind: flag.text('the address of this machine at which to listen', { value: 'HOST', otherwise: '127.0.0.1' }),
} as const;

type Values = ValuesOf<typeof FLAGS>;

class ForwardTask implements Task {
  readonly title: string;
  private readonly port: number;
  private readonly service: string;
  private server: Server | undefined;
  private readonly sockets = new Set<Socket>();

  constructor(
    spec: string,
    private readonly values: Values,
  ) {
    this.title = `forward ${spec}`;
    const match = /^(\d+):(.+)$/.exec(spec);
    if (match === null) throw usage(`forward ${spec}: must be PORT:SERVICE, such as 6379:redis`);
    this.port = Number(match[1]);
    this.service = match[2];
  }

  async start({ overlay, log }: TaskHost): Promise<void> {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      this.sockets.add(socket);
      socket.once('close', () => this.sockets.delete(socket));
      const dialled = overlay.dial(this.service);
      dialled.once('error', (error) => log.warn(`${this.title}: ${error.message}`));
      join(socket, dialled);
    });
    this.server = server;
    server.listen(this.port, this.values.bind ?? '127.0.0.1');
    await once(server, 'listening');
  }

  async stop(signal: AbortSignal): Promise<void> {
    const { server } = this;
    if (server === undefined) return;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    const end = () => {
      for (const socket of this.sockets) socket.destroy();
    };
    if (signal.aborted) end();
    else signal.addEventListener('abort', end, { once: true });
    await closed;
  }

  status(): Record<string, unknown> {
    return { open: this.sockets.size };
  }
}

export const forward: Command = defineCommand({
  name: 'forward',
  summary: 'make services of the network ports of this machine',
  args: [{ name: 'PORT:SERVICE', about: 'the port to listen at, and the service', isVariadic: true }],
  usesNode: true,
  section: 'entries',
  flags: FLAGS,
  examples: [
    { line: 'starlane forward 6379:redis 5432:db', about: 'two services' },
    { line: 'starlane forward 3001:web --join TOKEN', about: 'on a machine that is no member yet' },
  ],
  task: (spec, values) => new ForwardTask(spec, values as Values),
  async run(context, specs) {
    const tasks = specs.map((spec) => new ForwardTask(spec, context.config.valuesOf(forward, spec) as Values));
    const access = await useNetwork(context, { needsLink: true, isClient: true });
    return access.work(tasks, () => {
      context.output.json({ node: access.overlay.id, forwards: specs });
      for (const spec of specs) context.output.line(`forwarding ${spec}`);
    });
  },
});
