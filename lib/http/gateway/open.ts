// Opens gateways. What a gateway consists of is loaded with the first one: programs that only import `starlane/http` do not pay for it.

import type { Node } from '../../node/node.js';
import type { Gateway } from './gateway.js';
import type { GatewayOptions } from './options.js';

/**
 * Opens a gateway: requests of HTTP from outside go to services of the mesh, by host and path. The promise resolves when it listens everywhere.
 * The node stays open when the gateway closes; close the gateway first.
 * @throws ERR_STARLANE_OPTION; the errors of listening, such as EADDRINUSE and EACCES
 */
export async function gateway(node: Node, options: GatewayOptions = {}): Promise<Gateway> {
  const { Gateway } = await import('./gateway.js');
  const opened = new Gateway(node, options);
  await opened.listen();
  return opened;
}
