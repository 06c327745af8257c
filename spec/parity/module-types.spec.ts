// The types of `node.net`: a program that was written for the types of `node:net` compiles with it unchanged. What is said
// here is checked by the compiler, `npm run typecheck`.

import type * as nodeNet from 'node:net';
import type { Duplex } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import { createNode, type Node } from '../../lib/index.js';

type Net = Node['net'];

/** Names of node:net that are missing, and names whose type is not good enough for a program that knows node:net. */
type Missing = Exclude<keyof typeof nodeNet, keyof Net>;
type Unlike = {
  [Name in keyof typeof nodeNet & keyof Net]: Net[Name] extends (typeof nodeNet)[Name] ? never : Name;
}[keyof typeof nodeNet & keyof Net];

/** Compiles only for `never`. */
function nothing<_Names extends never>(): boolean {
  return true;
}

/** A program as there are many, that is given the module. */
function serveEcho(net: typeof nodeNet): nodeNet.Server {
  const server: nodeNet.Server = net.createServer({ allowHalfOpen: true, pauseOnConnect: false }, (socket) => {
    const stream: Duplex = socket;
    stream.pipe(socket);
  });
  return server.on('drop', (dropped) => dropped?.remotePort).listen({ port: 0, host: 'localhost', backlog: 5 });
}

function dialEcho(
  net: Pick<typeof nodeNet, 'connect' | 'createConnection' | 'Socket'>,
  port: number,
): nodeNet.Socket[] {
  class Named extends net.Socket {
    readonly name = 'named';
  }
  const named = new Named({ allowHalfOpen: true }).connect({ port, host: 'localhost' });
  const sockets: nodeNet.Socket[] = [net.connect(port), net.createConnection({ port, timeout: 1000 }), named];
  return sockets.map((socket) => socket.setNoDelay().setKeepAlive(true, 1000).setTimeout(1000).unref());
}

describe('the types of node.net', () => {
  it('have every name of node:net, each as good as that', () => {
    expect([nothing<Missing>(), nothing<Unlike>()]).toEqual([true, true]);
  });

  it('are those that programs for node:net ask for', async () => {
    const node = createNode({ closeTimeoutMs: 1 });
    const { net } = node;
    const server = serveEcho(net);
    const { port } = server.address() as nodeNet.AddressInfo;
    const sockets = dialEcho(net, port);
    expect(sockets.every((socket) => socket instanceof net.Socket)).toBe(true);
    const closes = sockets.map((socket) => new Promise((resolve) => socket.destroy().once('close', resolve)));
    await Promise.all(closes);
    server.close();
    await node.close();
  });

  it('do not let pass what node:net would not', () => {
    const wrong = (net: Net): unknown[] => [
      // @ts-expect-error a port is a number
      () => net.connect(true),
      // @ts-expect-error a listener is a function
      () => net.createServer({}, 5),
      // @ts-expect-error there is no such method
      () => new net.Socket().shout(),
    ];
    expect(wrong).toHaveLength(1);
  });
});
