// starlane join

import { resolve } from 'node:path';
import { decodeToken } from '../../wire/token.js';
import { defineCommand } from '../command.js';
import { Home } from '../home.js';
import { becomeMember } from '../run/network.js';
import { nodeValues } from '../run/use-network.js';

export const join = defineCommand({
  name: 'join',
  summary: 'make this machine a member, with a token',
  description: 'A token that is - is read from standard input, which keeps it out of the list of processes.',
  args: [{ name: 'TOKEN', about: 'what starlane invite or publish has printed' }],
  usesNode: ['credentials', 'name', 'via', 'noProxy', 'timeout'],
  flags: {},
  examples: [
    { line: 'starlane join starlane1.AWn…', about: 'joins, and keeps the credentials for later commands' },
    { line: 'starlane join - --credentials /var/lib/starlane < token', about: 'a token from a file' },
  ],
  async run(context, [given]) {
    const values = nodeValues(context);
    const token = given === '-' ? await textOf(context.stdin) : given;
    const { networkId } = decodeToken(token);
    const home = new Home(context.environment);
    const credentials = values.credentials === undefined ? home.credentialsOf(networkId) : resolve(values.credentials);
    if (values.credentials === undefined) home.make();
    const member = await becomeMember(token, credentials, values);
    if (values.credentials === undefined) home.setDefault(networkId);
    context.output.json({ network: networkId, credentials, ...member });
    context.output.line(`member ${member.name} of network ${networkId}, in ${credentials}`);
  },
});

async function textOf(stream: NodeJS.ReadStream): Promise<string> {
  let text = '';
  for await (const chunk of stream) {
    text += chunk;
    if (text.length > 65_536) break;
  }
  return text;
}
