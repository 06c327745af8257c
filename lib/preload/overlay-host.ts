// Which hosts of an unchanged program are services: those that end in `.starlane`, in any case and with or without the dot
// of a full domain name. What is before that is the name of the service.
//
// Some programs look a host up first, and connect to the address that they got, or to the remoteAddress of a socket that they
// have. Those are addresses that stand for a service or a node in this process.

import { hostOfStandIn } from '../socket/socket-addresses.js';
import { IS_SOCKET } from '../socket/stream-wrap.js';

const SUFFIX = /\.starlane\.?$/i;

/** The service that a host means, or the node, as `@nodeId`; undefined for every other host, which is none of our business. */
export function overlayService(host: unknown): string | undefined {
  if (typeof host !== 'string') return undefined;
  if (SUFFIX.test(host)) return host.replace(SUFFIX, '');
  return hostOfStandIn(host);
}

/** Whether it is a socket of a node, adopted or not. */
export function isOverlaySocket(socket: unknown): boolean {
  return (socket as { [IS_SOCKET]?: boolean } | null | undefined)?.[IS_SOCKET] === true;
}
