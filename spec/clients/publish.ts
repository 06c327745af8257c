// The few lines that put any server of the system under a service name, and those that give a service to programs which can
// only connect to an address of the system.

import { once } from 'node:events';
import net, { type AddressInfo, type NetConnectOpts } from 'node:net';
import { type Duplex, pipeline } from 'node:stream';
import type { Node, Server } from '../../lib/index.js';

/** Binds `name`; each socket goes on to a connection of its own to the server at `to`. */
export function publish(node: Node, name: string, to: NetConnectOpts): Server {
  return node.bind(name, { allowHalfOpen: true }, (socket) => {
    join(socket, net.connect({ ...to, allowHalfOpen: true }));
  });
}

/** A local port that leads to a service. */
export interface Forwarder {
  readonly host: string;
  readonly port: number;
  /** Also ends what goes through it. */
  close(): Promise<void>;
}

/** Listens at loopback; each connection goes on to a socket of its own to the service. */
export async function forward(node: Node, name: string): Promise<Forwarder> {
  const open = new Set<Duplex>();
  const server = net.createServer({ allowHalfOpen: true }, (near) => {
    open.add(near.once('close', () => open.delete(near)));
    join(near, node.dial(name, { allowHalfOpen: true }));
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { address, port } = server.address() as AddressInfo;
  const close = async (): Promise<void> => {
    const closed = once(server.close(), 'close');
    for (const near of open) near.destroy();
    await closed;
  };
  return { host: address, port, close };
}

/** Either direction ends by itself; an error of either end takes both away. */
function join(a: Duplex, b: Duplex): void {
  // Also for errors that come when both pipelines are over and listen no more.
  for (const end of [a, b]) end.on('error', () => {});
  pipeline(a, b, () => {});
  pipeline(b, a, () => {});
}
