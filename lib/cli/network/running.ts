// The node that runs on this machine, for commands that ask it something.

import type { Context } from '../command.js';
import { ControlClient } from '../control/client.js';
import { ExitCode, Failure } from '../failure.js';
import { chooseNetwork, noNetwork } from '../run/network.js';
import { nodeValues } from '../run/use-network.js';

/** Asks the node that runs with the credentials of this command. @throws Failure when none runs */
export async function askRunning<T>(context: Context, ask: (client: ControlClient) => Promise<T>): Promise<T> {
  const network = chooseNetwork(nodeValues(context), context.environment);
  if (network.credentials === undefined && network.key.startsWith('process ')) throw noNetwork();
  const client = new ControlClient(network.home.controlSocket(network.key));
  if (!(await client.isRunning())) {
    throw new Failure(`no node runs here with ${network.key}; start one with starlane up`, ExitCode.UNREACHABLE);
  }
  return ask(client);
}
