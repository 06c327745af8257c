// starlane trace

import { defineCommand } from '../command.js';
import { ExitCode } from '../failure.js';
import { ms, withAsker } from './ask.js';

export const trace = defineCommand({
  name: 'trace',
  summary: 'show the path of a dial, and the share of each hop',
  args: [{ name: 'TARGET', about: 'a service, the name of a member, or @id' }],
  usesNode: true,
  flags: {},
  examples: [
    { line: 'starlane trace web', about: 'each node on the way' },
    { line: 'starlane trace @h2h9zK1b0cM --json', about: 'for programs' },
  ],
  async run(context, [target]) {
    const { output } = context;
    const found = await withAsker(context, (asker) => asker.trace(target));
    output.json(found);
    if (output.isJson) return ExitCode.OK;
    output.table(
      found.hops.map((hop, index) => ({ ...hop, index })),
      {
        hop: ({ index }) => index,
        node: ({ name, nodeId }) => name ?? nodeId,
        id: ({ nodeId }) => nodeId,
        'ms to the next': ({ rttMs }) => ms(rttMs),
        share: ({ share }) => (share === null ? '-' : `${Math.round(share * 100)} %`),
        note: ({ error }) => error?.message,
      },
      'There is no path.',
    );
    const rest = found.unaccountedMs === null ? '' : `, of which ${ms(found.unaccountedMs)} ms in the nodes`;
    output.line(`whole round trip: ${ms(found.totalMs)} ms${found.measuredBy === 'dial' ? ' (the dial)' : rest}`);
    return ExitCode.OK;
  },
});
