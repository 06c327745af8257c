// starlane members

import type { ListedMember } from '../../node/enrolment/membership.js';
import { defineCommand } from '../command.js';
import { askRunning } from './running.js';

type SentMember = Omit<ListedMember, 'since' | 'until'> & { since: string; until: string };

export const members = defineCommand({
  name: 'members',
  summary: 'list the members of the network',
  description: 'The node of this machine must run.',
  usesNode: ['credentials', 'identity'],
  flags: {},
  examples: [
    { line: 'starlane members', about: 'a table' },
    {
      line: "starlane members --json | jq -r '.[] | select(.reachable | not) | .name'",
      about: 'those that cannot be reached',
    },
  ],
  async run(context) {
    const list = (await askRunning(context, (client) => client.get('/control/members'))) as SentMember[];
    list.sort((a, b) => (a.name < b.name ? -1 : 1));
    context.output.table(
      list,
      {
        name: ({ name }) => name,
        id: ({ id }) => id,
        reachable: ({ reachable }) => (reachable ? 'yes' : 'no'),
        tags: ({ tags }) => tags.join(','),
        rights: ({ rights }) => rightsOf(rights),
        until: ({ until }) => until.slice(0, 16).replace('T', ' '),
      },
      'The network has no members: its nodes have a secret, or nothing.',
    );
  },
});

function rightsOf({ relay, issue, offer }: ListedMember['rights']): string {
  const words = [
    ...(issue ? ['issue'] : []),
    ...(relay ? ['relay'] : []),
    ...(offer.length > 0 ? [`offer:${offer.join('|')}`] : []),
  ];
  return words.join(' ');
}
