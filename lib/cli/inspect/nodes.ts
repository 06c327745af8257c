// starlane nodes

import { defineCommand } from '../command.js';
import { ExitCode } from '../failure.js';
import { ms, NODE_FLAG, nameOf, withAsker } from './ask.js';

export const nodes = defineCommand({
  name: 'nodes',
  summary: 'list the nodes of the network',
  usesNode: true,
  flags: NODE_FLAG,
  examples: [
    { line: 'starlane nodes', about: 'as the node of this machine sees them' },
    { line: "starlane nodes --json | jq -r '.[] | select(.draining) | .id'", about: 'those that drain' },
  ],
  async run(context, _args, { node }) {
    const { nodes: found } = await withAsker(context, (asker) => asker.ask('/v1/nodes?limit=20000', node));
    context.output.table(
      found,
      {
        node: (of) => nameOf(of),
        id: ({ id }) => id,
        hops: ({ self, hops }) => (self ? 'here' : (hops ?? 'unreachable')),
        'cost ms': ({ costMs }) => ms(costMs),
        links: ({ links }) => links.length,
        relay: ({ relay }) => (relay ? 'yes' : 'no'),
        state: ({ leaving, draining, overloaded }) =>
          leaving ? 'leaving' : draining ? 'draining' : overloaded ? 'overloaded' : 'open',
        addresses: ({ addresses }) => addresses.join(' '),
      },
      'No node is known.',
    );
    return ExitCode.OK;
  },
});
