// starlane status

import type { LinkInfo } from '../../link/link.js';
import { defineCommand } from '../command.js';
import { printable } from '../log.js';
import { WHICH_NODE } from '../run/node-flags.js';
import { askRunning } from './running.js';

interface SentStatus {
  readonly id: string;
  readonly name: string | null;
  readonly network: string | null;
  readonly role: string;
  readonly state: string;
  readonly pid: number;
  readonly since: string;
  readonly credentials: string | null;
  readonly config: string | null;
  readonly listen: readonly string[];
  readonly links: readonly LinkInfo[];
  readonly tasks: ReadonlyArray<Readonly<Record<string, unknown>> & { task: string }>;
}

export const status = defineCommand({
  name: 'status',
  summary: 'show what the node of this machine does',
  description: 'Asks over a socket that only this user may open; needs no address.',
  usesNode: WHICH_NODE,
  flags: {},
  examples: [
    { line: 'starlane status', about: 'its links, and what it publishes and forwards' },
    { line: 'starlane status --json | jq .links', about: 'for programs' },
  ],
  async run(context) {
    const { output } = context;
    const found = (await askRunning(context, (client) => client.get('/control/status'))) as SentStatus;
    output.json(found);
    if (output.isJson) return;
    output.line(
      `node         ${found.name === null ? '' : `${printable(found.name)}, `}${found.id} (${found.role}, ${found.state}, pid ${found.pid}, since ${found.since.slice(0, 19).replace('T', ' ')})`,
    );
    if (found.network !== null) output.line(`network      ${found.network}`);
    if (found.credentials !== null) output.line(`credentials  ${found.credentials}`);
    if (found.config !== null) output.line(`file         ${found.config}`);
    if (found.listen.length > 0) output.line(`listens at   ${found.listen.join(', ')}`);
    if (found.tasks.length > 0) output.line();
    for (const { task, ...rest } of found.tasks) {
      const words = Object.entries(rest).map(([name, value]) => `${name}: ${printable(String(value))}`);
      output.line(`${output.style('bold', task)}${words.length === 0 ? '' : `  ${words.join(', ')}`}`);
    }
    output.line();
    output.table(
      found.links,
      {
        peer: ({ peerName, peerId }) => peerName ?? peerId,
        address: ({ address }) => address,
        'rtt ms': ({ rttMs }) => rttMs.toFixed(1),
        streams: ({ streams }) => streams,
        in: ({ bytesIn }) => bytesIn,
        out: ({ bytesOut }) => bytesOut,
      },
      'There is no link.',
    );
  },
});
