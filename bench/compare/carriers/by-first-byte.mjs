// The peers compared know no service names. Where a case offers more than one service, the first byte of a stream says
// which one is meant.

/** @typedef {import('node:stream').Duplex} Duplex */

/**
 * @param {Record<string, (socket: Duplex) => void>} services
 * @returns {(socket: Duplex) => void} hands a new stream to the service it asks for
 */
export function dispatch(services) {
  const handlers = Object.values(services);
  if (handlers.length === 1) return handlers[0];
  return (socket) => {
    socket.once('readable', () => handlers[socket.read(1)[0]](socket));
  };
}

/**
 * Says on a new stream which of the services is meant, if there is a choice.
 *
 * @param {Duplex} socket
 * @param {string[]} services
 * @param {string} service
 * @returns {Duplex} the same stream
 */
export function ask(socket, services, service) {
  if (services.length > 1) socket.write(Buffer.of(services.indexOf(service)));
  return socket;
}
