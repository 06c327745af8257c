// starlane routes

import { defineCommand } from '../command.js';
import { ExitCode } from '../failure.js';
import { ms, NODE_FLAG, withAsker } from './ask.js';

export const routes = defineCommand({
  name: 'routes',
  summary: 'list how other nodes are reached',
  usesNode: true,
  flags: NODE_FLAG,
  examples: [
    { line: 'starlane routes', about: 'the next hop and the cost to each node' },
    { line: 'starlane routes --node edge-1', about: 'those of another node' },
  ],
  async run(context, _args, { node }) {
    const { routes: found } = await withAsker(context, (asker) => asker.ask('/v1/routes?limit=20000', node));
    context.output.table(
      [...found].sort((a, b) => a.costMs - b.costMs),
      {
        node: ({ name, nodeId }) => name ?? nodeId,
        id: ({ nodeId }) => nodeId,
        'next hop': ({ nodeId, nextHop }) =>
          nodeId === nextHop ? 'direct' : (found.find((of) => of.nodeId === nextHop)?.name ?? nextHop),
        hops: ({ hops }) => hops,
        'cost ms': ({ costMs }) => ms(costMs),
      },
      'No other node is reached.',
    );
    return ExitCode.OK;
  },
});
