// starlane publish

import { join } from 'node:path';
import { type Context, defineCommand } from '../../command.js';
import { Failure } from '../../failure.js';
import { withLock } from '../../local/stale-socket.js';
import { makeNetwork } from '../../network/init.js';
import { type ChosenNetwork, chooseNetwork, isIssuer } from '../../run/network.js';
import type { Task } from '../../run/task.js';
import { nodeValues, useChosen } from '../../run/use-network.js';
import { announce } from './announcement.js';
import { McpTask } from './mcp-task.js';
import { PUBLISH_FLAGS, type PublishOptions, publishOptions, type RunTerms } from './options.js';
import { endInWords, exitCodeFor } from './restarts.js';
import { type PublishOwner, PublishTask } from './task.js';

function taskOf(options: PublishOptions, { environment }: Context, owner?: PublishOwner): PublishTask | McpTask {
  return options.target === undefined
    ? new McpTask({ ...options, program: options.program as RunTerms }, environment)
    : new PublishTask(options, environment, owner);
}

export const publish = defineCommand({
  name: 'publish',
  summary: 'offer a port of this machine as a service',
  description:
    'If there is no network yet, it makes one, and prints a token for another machine. A program behind -- runs for as long as the service.',
  args: [{ name: 'NAME', about: 'the name of the service; with a virtual port, such as web:8080, for that port only' }],
  usesNode: true,
  section: 'entries',
  flags: PUBLISH_FLAGS,
  examples: [
    { line: 'starlane publish web --port 3000', about: 'what listens at port 3000' },
    { line: 'starlane publish web --check /health -- node server.js', about: 'a program, while it is healthy' },
    { line: "starlane publish db --unix /run/pg/.s.PGSQL.5432 --allow 'app-*'", about: 'for some members only' },
    {
      line: 'starlane publish files --mcp -- npx some-mcp-server /srv',
      about: 'an MCP server, for starlane mcp files',
    },
  ],
  task: (name, values, context): Task => taskOf(publishOptions(name, values, undefined), context),
  async run(context: Context, [name], values) {
    const options = publishOptions(name, values, context.program);
    let onProgramEnd: PublishOwner['onProgramEnd'] = () => {};
    let onFault: PublishOwner['onFault'] = () => {};
    const failed = new Promise<never>((_resolve, reject) => {
      onFault = reject;
      onProgramEnd = (end) => {
        reject(new Failure(`publish ${name}: the program has ended: ${endInWords(end)}`, exitCodeFor(end)));
      };
    });
    failed.catch(() => {});
    const task = taskOf(options, context, {
      onFault: (error) => onFault(error),
      onProgramEnd: (end) => onProgramEnd(end),
    });
    const nodeOptions = nodeValues(context);
    const isMissing = ({ credentials, token, seeds, key }: ChosenNetwork) =>
      credentials === undefined && token === undefined && seeds.length === 0 && key.startsWith('process ');
    let network = chooseNetwork(nodeOptions, context.environment);
    let isNew = isMissing(network);
    if (isNew) {
      // Two commands that are started together make one network.
      const { home } = network;
      home.make();
      isNew = await withLock(join(home.folder, '.lock'), () => {
        if (!isMissing(chooseNetwork(nodeOptions, context.environment))) return false;
        makeNetwork(context, nodeOptions);
        return true;
      });
      network = chooseNetwork(nodeOptions, context.environment);
    }
    const access = await useChosen(context, network, nodeOptions, { needsLink: !isIssuer(network.credentials) });
    return access.work([withFailure(task, failed)], () =>
      announce(context, access, {
        options,
        to: task instanceof PublishTask ? task.place : undefined,
        invite: values.invite,
        isNew,
      }),
    );
  },
});

/** Ends the command with what `failed` is rejected with. */
function withFailure(task: Task, failed: Promise<never>): Task {
  return {
    title: task.title,
    start: (host) => {
      failed.catch((error) => host.fail(error));
      return task.start(host);
    },
    stop: (signal) => task.stop(signal),
    status: () => task.status(),
  };
}
