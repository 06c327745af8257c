// starlane services

import type { ServiceAnswer } from '../../node/queries/answers.js';
import { defineCommand } from '../command.js';
import { ExitCode } from '../failure.js';
import { flag } from '../flags.js';
import { everyPage, ms, NODE_FLAG, putMeta, withAsker } from './ask.js';

export const services = defineCommand({
  name: 'services',
  summary: 'list the services of the network',
  description: 'Callers that may not ask a node for everything see the services that they may dial.',
  args: [{ name: 'NAME', about: 'only instances of services with such a name, with asterisks', isOptional: true }],
  usesNode: true,
  flags: {
    ...NODE_FLAG,
    at: flag.list('only those that these nodes offer: ids, or names of members, with asterisks', {
      value: 'PATTERN',
      inFile: false,
    }),
    tag: flag.list('only those of members with such a tag, with asterisks', { value: 'PATTERN', inFile: false }),
    meta: flag.list('only those with this in their meta; the value may have asterisks', {
      value: 'KEY=VALUE',
      inFile: false,
    }),
    local: flag.boolean('only those that the node offers itself', {
      otherwise: 'all',
      aboutNot: 'only those that other nodes offer',
      inFile: false,
    }),
  },
  examples: [
    { line: 'starlane services', about: 'what can be dialled from here' },
    { line: 'starlane services web --node edge-1', about: 'instances of web as edge-1 sees them' },
    { line: "starlane services 'web*' --meta region=eu", about: 'those in one region' },
  ],
  async run(context, [name], { node, at = [], tag = [], meta = [], local }) {
    const search = new URLSearchParams();
    if (name !== undefined) search.set(name.includes('*') ? 'service' : 'name', name);
    for (const pattern of at) search.append('node', pattern);
    for (const pattern of tag) search.append('tag', pattern);
    putMeta(search, meta, 'services');
    if (local !== undefined) search.set('local', String(local));
    const found = await withAsker(context, (asker) =>
      everyPage<ServiceAnswer>(search, async (query) => {
        const { services: entries, next } = await asker.ask(`/v1/services?${query}`, node);
        return { entries, next };
      }),
    );
    const sorted = [...found].sort((a, b) =>
      a.service === b.service ? a.costMs - b.costMs : a.service < b.service ? -1 : 1,
    );
    const isFiltered = search.size > 0;
    context.output.table(
      sorted,
      {
        service: ({ service, port }) => (port === 0 ? service : `${service}:${port}`),
        node: ({ nodeName, nodeId }) => nodeName ?? nodeId,
        id: ({ nodeId }) => nodeId,
        hops: ({ hops, local: isHere }) => (isHere ? 'here' : hops),
        'cost ms': ({ costMs }) => ms(costMs),
        weight: ({ weight }) => weight,
        meta: ({ meta: said }) => (said === undefined || said === null ? undefined : JSON.stringify(said)),
      },
      !isFiltered
        ? 'No service is known.'
        : name === undefined
          ? 'No such service is known.'
          : `No instance of ${name} is known.`,
    );
    return isFiltered && sorted.length === 0 ? ExitCode.NOT_FOUND : ExitCode.OK;
  },
});
