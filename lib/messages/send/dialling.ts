// Circuits to one particular receiver.

import { netError } from '../../errors.js';
import type { ServiceInfo } from '../../mesh/directory/service.js';
import type { Node } from '../../node/node.js';
import type { Socket } from '../../socket/socket.js';
import { nextTick } from '../../util/runtime/real-timers.js';
import { MESSAGE_PORT } from '../ports.js';
import type { Receiver } from './directory.js';

/**
 * Dials the inbox of a receiver. The socket does not hold the process open.
 * @param waits whether to wait for an instance that the directory does not have now
 */
export function dialReceiver(node: Node, { nodeId, service }: Receiver, timeoutMs: number, waits: boolean): Socket {
  const limitMs = Math.max(1, Math.ceil(timeoutMs));
  if (service === undefined) {
    const socket = node.dial(`@${nodeId}:${MESSAGE_PORT}`, { timeoutMs: limitMs });
    socket.unref();
    return socket;
  }
  const selector = (instances: readonly ServiceInfo[]): ServiceInfo | undefined => {
    const found = instances.find((one) => one.nodeId === nodeId && one.port === MESSAGE_PORT);
    if (found === undefined && !waits)
      nextTick(() => socket?.destroy(netError('ENOTFOUND', 'connect', { address: service })));
    return found;
  };
  const socket = node.dial(`${service}:${MESSAGE_PORT}`, { selector, timeoutMs: limitMs });
  socket.unref();
  return socket;
}
