// The network of a node of this process, for clients of APIs: calls without streams share lanes, others have circuits of their own.

import type { Node } from '../../node/node.js';
import { messages } from '../messages.js';
import { MESSAGE_PORT } from '../ports.js';
import type { ApiNetwork } from './network.js';
import { receivedUnary } from './unary-failure.js';

/** Returns the network of a node. */
export function networkOf(node: Node): ApiNetwork {
  const post = messages(node);
  return {
    instances: (service) =>
      node
        .serviceMap()
        .get(service)
        .filter(({ port }) => port === MESSAGE_PORT || port === 0),
    call: async (service, command, input, options) => {
      try {
        return await post.call(service, command.number, input, options);
      } catch (error) {
        throw receivedUnary(error);
      }
    },
    dial: (service, { timeoutMs, signal, selector }) =>
      node.dial(`${service}:${MESSAGE_PORT}`, { timeoutMs, signal, selector, allowHalfOpen: true }),
  };
}
