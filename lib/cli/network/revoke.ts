// starlane revoke

import type { MemberInfo } from '../../node/enrolment/member-info.js';
import type { ListedMember } from '../../node/enrolment/membership.js';
import { defineCommand } from '../command.js';
import { ExitCode, Failure } from '../failure.js';
import { WHICH_NODE } from '../run/node-flags.js';
import { askRunning } from './running.js';

export const revoke = defineCommand({
  name: 'revoke',
  summary: 'take the membership of a machine, for good',
  description:
    'The node of this machine must run, and have the key of the network. Other members drop its links within seconds.',
  args: [{ name: 'MEMBER', about: 'its name, or its node id' }],
  usesNode: WHICH_NODE,
  flags: {},
  examples: [
    { line: 'starlane revoke web-1', about: 'by name' },
    { line: 'starlane revoke h2h9zK1b0cM', about: 'by node id, where two members have one name' },
  ],
  async run(context, [member]) {
    const gone = (await askRunning(context, async (client) => {
      const members = (await client.get('/control/members')) as ListedMember[];
      if (!members.some(({ id, name }) => id === member || name === member))
        throw new Failure(`no member has the id or the name ${JSON.stringify(member)}`, ExitCode.NOT_FOUND);
      return client.post('/control/revoke', { member });
    })) as MemberInfo;
    context.output.json(gone);
    context.output.line(`revoked ${gone.name} (${gone.id})`);
  },
});
