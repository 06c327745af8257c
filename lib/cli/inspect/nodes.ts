// starlane nodes

import type { NodeAnswer } from '../../node/queries/answers.js';
import { defineCommand } from '../command.js';
import { ExitCode } from '../failure.js';
import { flag } from '../flags.js';
import { everyPage, ms, NODE_FLAG, nameOf, putMeta, withAsker } from './ask.js';

export const nodes = defineCommand({
  name: 'nodes',
  summary: 'list the nodes of the network',
  description: 'Callers that may not ask a node for everything see the nodes that offer what they may dial.',
  args: [{ name: 'NAME', about: 'only these: ids, or names of members, with asterisks', isOptional: true }],
  usesNode: true,
  flags: {
    ...NODE_FLAG,
    tag: flag.list('only members with such a tag, with asterisks', { value: 'PATTERN', inFile: false }),
    // Not --role: that is the one of the node that asks.
    kind: flag.list('only nodes of these roles, as far as they are known', {
      value: 'ROLE',
      choices: ['peer', 'client', 'server', 'router'],
      inFile: false,
    }),
    offers: flag.list('only nodes with such a service, with asterisks', { value: 'PATTERN', inFile: false }),
    meta: flag.list('only nodes with a service that has this in its meta', { value: 'KEY=VALUE', inFile: false }),
    relays: flag.boolean('only nodes through which circuits of others may pass', {
      otherwise: 'all',
      aboutNot: 'only the other ones',
      inFile: false,
    }),
    reachable: flag.boolean('only nodes to which there is a way', {
      otherwise: 'all',
      aboutNot: 'only the other ones',
      inFile: false,
    }),
  },
  examples: [
    { line: 'starlane nodes', about: 'as the node of this machine sees them' },
    { line: "starlane nodes --offers 'web*' --meta region=eu", about: 'those with a web service in one region' },
    { line: "starlane nodes --json | jq -r '.[] | select(.draining) | .id'", about: 'those that drain' },
  ],
  async run(context, [name], { node, tag = [], kind = [], offers = [], meta = [], relays, reachable }) {
    const search = new URLSearchParams();
    if (name !== undefined) search.set('name', name);
    for (const pattern of tag) search.append('tag', pattern);
    for (const role of kind) search.append('role', role);
    for (const pattern of offers) search.append('service', pattern);
    putMeta(search, meta, 'nodes');
    if (relays !== undefined) search.set('relay', String(relays));
    if (reachable !== undefined) search.set('reachable', String(reachable));
    const found = await withAsker(context, (asker) =>
      everyPage<NodeAnswer>(search, async (query) => {
        const { nodes: entries, next } = await asker.ask(`/v1/nodes?${query}`, node);
        return { entries, next };
      }),
    );
    const isFiltered = search.size > 0;
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
      isFiltered ? 'No such node is known.' : 'No node is known.',
    );
    return isFiltered && found.length === 0 ? ExitCode.NOT_FOUND : ExitCode.OK;
  },
});
