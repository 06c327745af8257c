// starlane services

import { defineCommand } from '../command.js';
import { ExitCode } from '../failure.js';
import { ms, NODE_FLAG, withAsker } from './ask.js';

export const services = defineCommand({
  name: 'services',
  summary: 'list the services of the network',
  args: [{ name: 'NAME', about: 'only instances of this service', isOptional: true }],
  usesNode: true,
  flags: NODE_FLAG,
  examples: [
    { line: 'starlane services', about: 'what can be dialled from here' },
    { line: 'starlane services web --node edge-1', about: 'instances of web as edge-1 sees them' },
  ],
  async run(context, [name], { node }) {
    const query = name === undefined ? 'limit=20000' : `limit=20000&name=${encodeURIComponent(name)}`;
    const { services: found } = await withAsker(context, (asker) => asker.ask(`/v1/services?${query}`, node));
    const sorted = [...found].sort((a, b) =>
      a.service === b.service ? a.costMs - b.costMs : a.service < b.service ? -1 : 1,
    );
    context.output.table(
      sorted,
      {
        service: ({ service, port }) => (port === 0 ? service : `${service}:${port}`),
        node: ({ nodeName, nodeId }) => nodeName ?? nodeId,
        id: ({ nodeId }) => nodeId,
        hops: ({ hops, local }) => (local ? 'here' : hops),
        'cost ms': ({ costMs }) => ms(costMs),
        weight: ({ weight }) => weight,
        meta: ({ meta }) => (meta === undefined || meta === null ? undefined : JSON.stringify(meta)),
      },
      name === undefined ? 'No service is known.' : `No instance of ${name} is known.`,
    );
    return name !== undefined && sorted.length === 0 ? ExitCode.NOT_FOUND : ExitCode.OK;
  },
});
