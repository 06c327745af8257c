// starlane links

import { defineCommand } from '../command.js';
import { ExitCode } from '../failure.js';
import { bytes, ms, NODE_FLAG, span, withAsker } from './ask.js';

export const links = defineCommand({
  name: 'links',
  summary: 'list the links of a node',
  usesNode: true,
  flags: NODE_FLAG,
  examples: [
    { line: 'starlane links', about: 'round trips, traffic and what waits' },
    { line: 'starlane links --node edge-1 --json', about: 'those of another node, for programs' },
  ],
  async run(context, _args, { node }) {
    const { links: found } = await withAsker(context, (asker) => asker.ask('/v1/links', node));
    const now = Date.now();
    context.output.table(
      found,
      {
        peer: ({ peerName, peerId }) => peerName ?? peerId,
        address: ({ address }) => address,
        direction: ({ direction }) => direction,
        purpose: ({ purpose }) => purpose,
        'rtt ms': ({ smoothedRttMs, rttMs }) => ms(smoothedRttMs ?? rttMs),
        streams: ({ streams }) => streams,
        in: ({ bytesIn }) => bytes(bytesIn),
        out: ({ bytesOut }) => bytes(bytesOut),
        queued: ({ queuedBytes }) => bytes(queuedBytes),
        age: ({ since }) => span(now - since),
        state: ({ stalled, suspect }) => (stalled ? 'stalled' : suspect ? 'silent' : 'ok'),
      },
      'There is no link.',
    );
    return ExitCode.OK;
  },
});
