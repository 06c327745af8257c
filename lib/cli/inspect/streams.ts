// starlane streams

import { defineCommand } from '../command.js';
import { ExitCode } from '../failure.js';
import { flag } from '../flags.js';
import { bytes, NODE_FLAG, span, withAsker } from './ask.js';

export const streams = defineCommand({
  name: 'streams',
  summary: 'list the open streams of a node, or those that hang',
  usesNode: true,
  flags: {
    ...NODE_FLAG,
    stalled: flag.boolean('only those with bytes that wait and do not move', { inFile: false }),
    stalledFor: flag.duration('for how long nothing must have moved', { otherwise: '2s', min: 1, max: 30_000 }),
    service: flag.text('only those of this service', { value: 'NAME', inFile: false }),
    limit: flag.integer('how many to list', { otherwise: '1000', min: 1, max: 20_000 }),
  },
  examples: [
    { line: 'starlane streams --stalled', about: 'where a transfer hangs, and at which end' },
    { line: 'starlane streams --node relay-1 --service db', about: 'streams to db at another node' },
  ],
  async run(context, _args, { node, stalled, stalledFor, service, limit = 1_000 }) {
    const query = new URLSearchParams({ limit: String(limit) });
    if (stalled) query.set('stalled', 'true');
    if (stalledFor !== undefined) query.set('forMs', String(stalledFor));
    if (service !== undefined) query.set('service', service);
    const { streams: found, total } = await withAsker(context, (asker) => asker.ask(`/v1/streams?${query}`, node));
    context.output.table(
      found,
      {
        service: ({ service: name, port, kind }) =>
          kind === 'socket' ? `${name}${port === null || port === 0 ? '' : `:${port}`}` : `(${kind})`,
        peer: ({ peerName, peerId }) => peerName ?? peerId,
        direction: ({ direction }) => direction,
        via: ({ via, relayed }) => (via.length > 0 ? via.join(' ') : relayed ? 'relays' : 'direct'),
        age: ({ ageMs }) => span(ageMs),
        in: ({ bytesIn }) => bytes(bytesIn),
        out: ({ bytesOut }) => bytes(bytesOut),
        'waiting in': ({ waitingIn }) => bytes(waitingIn),
        'waiting out': ({ waitingOut }) => bytes(waitingOut),
        still: ({ idleMs }) => (idleMs === 0 ? '-' : span(idleMs)),
      },
      stalled ? 'No stream is stalled.' : 'No stream is open.',
    );
    if (total > found.length) context.output.note(`${total - found.length} more; see --limit`);
    return ExitCode.OK;
  },
});
