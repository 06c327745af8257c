// starlane up

import { loadCommands } from '../catalog.js';
import { type Command, type Context, defineCommand } from '../command.js';
import { chooseNetwork, isUnprotected, noNetwork } from '../run/network.js';
import { NodeRun, runsAlready } from '../run/node-run.js';
import type { Task } from '../run/task.js';
import { nodeValues } from '../run/use-network.js';

/** Returns what the sections of the file ask for. @throws Failure */
async function tasksOf(context: Context): Promise<readonly Task[]> {
  const commands = await loadCommands();
  return commands.flatMap((command: Command) =>
    command.task === undefined
      ? []
      : context.config
          .keysOf(command)
          .map((key) => command.task?.(key, context.config.fileValuesOf(command, key), context) as Task),
  );
}

export const up = defineCommand({
  name: 'up',
  summary: 'run a node, and what the configuration file asks for',
  description: 'SIGHUP reads the file again, and changes what differs without losing a stream. SIGTERM drains.',
  usesNode: true,
  flags: {},
  examples: [
    { line: 'starlane up --listen :7400', about: 'a node that others can join' },
    { line: 'starlane up --config /etc/starlane/starlane.yaml --log json', about: 'as a service of the system' },
  ],
  async run(context) {
    const { config, output } = context;
    // Until its node runs, there is nothing to change: what it starts with is read below.
    process.on('SIGHUP', () => {});
    const values = nodeValues(context);
    const network = chooseNetwork(values, context.environment);
    if (network.credentials === undefined && network.seeds.length === 0 && (values.listen ?? []).length === 0)
      throw noNetwork();
    if (isUnprotected(network, values, context)) {
      context.log.warn(
        'this node has neither members nor a secret: every program that can connect to it can join; see starlane init',
      );
    }
    const tasks = await tasksOf(context);
    const run = await NodeRun.start(context, network, values, {
      needsLink: values.timeout !== undefined,
      reload: async () => {
        await config.reload();
        return tasksOf(context);
      },
    });
    if (run === undefined) throw runsAlready(network);
    return run.work(tasks, () => {
      const { node, addresses } = run;
      output.json({ id: node.id, listen: addresses, pid: process.pid });
      output.line(`node ${node.id} runs${addresses.length === 0 ? '' : `, and listens at ${addresses.join(', ')}`}`);
    });
  },
});
