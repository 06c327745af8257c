// starlane export

import { defineCommand } from '../../command.js';
import { useNetwork } from '../../run/use-network.js';
import { EXPORT_FLAGS, ExportTask, type ExportValues } from './task.js';

export const exportCommand = defineCommand({
  name: 'export',
  summary: 'offer a service of one network in another one',
  description:
    'Only this service, and nothing else of its network, is seen there. It is offered while it has an instance. This machine must be a member of both networks.',
  args: [{ name: 'SERVICE', about: 'the service; NAME:16 for its messages, commands and API' }],
  usesNode: true,
  section: 'entries',
  flags: EXPORT_FLAGS,
  examples: [
    { line: 'starlane export orders --to ~/partner', about: 'to the network of another home' },
    {
      line: "starlane export orders:16 --to /etc/starlane/partner --as shop:16 --allow 'till-*'",
      about: 'an API, by another name, for some members',
    },
  ],
  task: (service, values, context) => new ExportTask(service, values as ExportValues, context),
  async run(context, [service], values) {
    const task = new ExportTask(service, values as ExportValues, context);
    const access = await useNetwork(context, { needsLink: true, isLeaf: true });
    return access.work([task], ([running]) => {
      const { to, as, state } = running.status();
      context.output.json({ service, to, as, state });
      context.output.line(`exporting ${service} to ${to}${as === service ? '' : ` as ${as}`}`);
    });
  },
});
