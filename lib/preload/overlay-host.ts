// Hosts and sockets of the overlay in an unchanged program. Hosts that end in `.starlane` are services, in upper or lower case and with or
// without the dot of a full domain name. The part before is the name of the service.
//
// Some programs look a host up first and connect to the address, or connect to the remoteAddress of a socket. These are stand-in
// addresses, which mean a service or a node in this process.

import { hostOfStandIn } from '../socket/endpoints.js';
import { IS_SOCKET } from '../socket/stream-wrap.js';

const SUFFIX = /\.starlane\.?$/i;

/** Returns the service that a host means, or the node, as `@nodeId`; undefined for every other host. */
export function overlayService(host: unknown): string | undefined {
  if (typeof host !== 'string') return undefined;
  if (SUFFIX.test(host)) return host.replace(SUFFIX, '');
  return hostOfStandIn(host);
}

/** Returns whether it is a socket of a node, adopted or not. */
export function isOverlaySocket(socket: unknown): boolean {
  return (socket as { [IS_SOCKET]?: boolean } | null | undefined)?.[IS_SOCKET] === true;
}
