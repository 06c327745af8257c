// starlane init

import { randomBytes } from 'node:crypto';
import { renameSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createNetwork } from '../../members/index.js';
import { type Context, defineCommand } from '../command.js';
import { ExitCode, Failure } from '../failure.js';
import { Home } from '../home.js';
import { isThere, machineName, type NodeValues } from '../run/network.js';
import { nodeValues } from '../run/use-network.js';

/** Makes a network. Returns its id, and the folder of credentials. @throws Failure, or an error with a code */
export function makeNetwork(
  context: Context,
  values: NodeValues,
): { networkId: string; credentials: string; name: string } {
  const home = new Home(context.environment);
  const name = machineName(values);
  if (values.credentials !== undefined) {
    const credentials = resolve(values.credentials);
    if (isThere(credentials))
      throw new Failure(`${credentials}: is there already, and is not overwritten`, ExitCode.BUSY);
    const { networkId } = createNetwork(credentials, { name });
    return { networkId, credentials, name };
  }
  home.make();
  // The id, which is the name of the folder, is known when the keys are there.
  const fresh = join(home.folder, 'networks', `.new-${randomBytes(8).toString('hex')}`);
  const { networkId } = createNetwork(fresh, { name });
  const credentials = home.credentialsOf(networkId);
  renameSync(fresh, credentials);
  home.setDefault(networkId);
  return { networkId, credentials, name };
}

export const init = defineCommand({
  name: 'init',
  summary: 'make a network, with this machine as its first member',
  description: 'The folder of credentials holds the key of the network: keep it as you keep root passwords.',
  usesNode: ['credentials', 'name'],
  flags: {},
  examples: [
    { line: 'starlane init', about: 'a network of this user' },
    { line: 'starlane init --credentials /var/lib/starlane --name first', about: 'a network of a server' },
  ],
  async run(context) {
    const { output } = context;
    const made = makeNetwork(context, nodeValues(context));
    output.json({ network: made.networkId, credentials: made.credentials, name: made.name });
    output.line(`network ${made.networkId} in ${made.credentials}`);
    output.note('Next: starlane up, and starlane invite for each other machine.');
  },
});
