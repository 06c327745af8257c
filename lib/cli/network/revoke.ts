// starlane revoke

import { codeOf } from '../../errors.js';
import type { MemberInfo } from '../../node/enrolment/member-info.js';
import { defineCommand } from '../command.js';
import { ExitCode, Failure, lineOf } from '../failure.js';
import { askRunning } from './running.js';

export const revoke = defineCommand({
  name: 'revoke',
  summary: 'take the membership of a machine, for good',
  description:
    'The node of this machine must run, and have the key of the network. Other members drop its links within seconds.',
  args: [{ name: 'MEMBER', about: 'its name, or its node id' }],
  usesNode: ['credentials', 'identity'],
  flags: {},
  examples: [
    { line: 'starlane revoke web-1', about: 'by name' },
    { line: 'starlane revoke h2h9zK1b0cM', about: 'by node id, where two members have one name' },
  ],
  async run(context, [member]) {
    const gone = (await askRunning(context, (client) => client.post('/control/revoke', { member })).catch((error) => {
      // The name is what the user has typed.
      if (codeOf(error) === 'ERR_STARLANE_ARGUMENT') throw new Failure(lineOf(error), ExitCode.NOT_FOUND);
      throw error;
    })) as MemberInfo;
    context.output.json(gone);
    context.output.line(`revoked ${gone.name} (${gone.id})`);
  },
});
