// The few lines that publish any server of the system under a service name, and those that give a service to programs which can
// only connect to an address of the system.

import { once } from 'node:events';
import net, { type AddressInfo, type NetConnectOpts } from 'node:net';
import { type Duplex, pipeline } from 'node:stream';
import type { Node, Server, Socket } from '../../lib/index.js';

/** Binds `name`; each socket continues over a separate connection to the server at `to`. */
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

/** Listens at loopback; each connection continues over a separate socket to the service. */
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

type End = net.Socket | Socket;

/** Either direction ends by itself; an error of either end resets the other one. */
function join(a: End, b: End): void {
  // Before the pipelines, which would end the other socket gracefully. The listeners stay for later errors.
  a.on('error', () => reset(b));
  b.on('error', () => reset(a));
  pipeline(a, b, () => {});
  pipeline(b, a, () => {});
}

function reset(end: End): void {
  // A socket that has ended cannot be reset: Node would leave its handle open (EINVAL of libuv). Nor can a unix socket.
  if (end.writableEnded) {
    end.destroy();
    return;
  }
  try {
    end.resetAndDestroy();
  } catch {
    end.destroy();
  }
}
