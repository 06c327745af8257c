// starlane agent

import { type Command, defineCommand } from '../command.js';
import { useNetwork } from '../run/use-network.js';
import { AppsPart } from './apps/part.js';
import { JobsPart } from './jobs/part.js';
import { AGENT_FLAGS, type AgentValues } from './options.js';
import type { AgentPart } from './part.js';
import { AgentTask } from './task.js';

/** The parts of an agent, in the order in which they start. */
function agentParts(): readonly AgentPart[] {
  return [new AppsPart(), new JobsPart()];
}

export const agent: Command = defineCommand({
  name: 'agent',
  summary: 'let others deploy apps and start jobs on this machine, by rules',
  description:
    'Nobody may do anything that no rule names. A rule is members=…, tags=… or nodes=… with rights=… (deploy, jobs, all-jobs, status, logs), and apps=… if not for all.',
  usesNode: true,
  flags: AGENT_FLAGS,
  examples: [
    {
      line: 'starlane agent --allow "tags=operator rights=deploy,logs" --signers ed25519:KEY',
      about: 'operators deploy bundles that this key has signed',
    },
    {
      line: 'starlane agent --allow "members=ci rights=deploy apps=web-*" --signers ed25519:KEY',
      about: 'one member, for some apps only',
    },
  ],
  task: (_key, values, context) => new AgentTask(values as AgentValues, context, agentParts()),
  async run(context, _args, values) {
    const task = new AgentTask(values, context, agentParts());
    const access = await useNetwork(context, { needsLink: true });
    return access.work([task], () => {
      const { folder } = task.status();
      context.output.json({ node: access.overlay.id, folder });
      context.output.line(`agent at node ${access.overlay.id}`);
    });
  },
});
