// Two nodes in this process over one link in memory, and sockets between them.

import { once } from 'node:events';
import { duplexPair } from 'node:stream';
import { createNode, type Node, type Server, type Socket } from '../../lib/index.js';

export interface NodePair extends AsyncDisposable {
  readonly client: Node;
  readonly server: Node;
}

/** Linked nodes; disposing closes both. */
export async function nodePair(): Promise<NodePair> {
  // What a spec leaves open is reset at once.
  const client = createNode({ closeTimeoutMs: 1 });
  const server = createNode({ closeTimeoutMs: 1 });
  const [near, far] = duplexPair();
  await Promise.all([client.attach(near), server.attach(far)]);
  return {
    client,
    server,
    async [Symbol.asyncDispose]() {
      await Promise.all([client.close(), server.close()]);
    },
  };
}

export interface SocketPair {
  /** The end that dialled. */
  readonly near: Socket;
  /** The end that the server got. */
  readonly far: Socket;
  readonly bound: Server;
}

/** A connected socket and its other end; `options` go to both. */
export async function socketPair(pair: NodePair, options: { allowHalfOpen?: boolean } = {}): Promise<SocketPair> {
  const bound = pair.server.bind('pair', options);
  const connection = once(bound, 'connection') as Promise<[Socket]>;
  const near = pair.client.dial('pair', options);
  const [[far]] = await Promise.all([connection, once(near, 'connect')]);
  // The end of the nodes is no error of the spec.
  near.on('error', () => {});
  far.on('error', () => {});
  return { near, far, bound };
}

/** Everything that arrives until the end. */
export async function readAll(socket: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** The names of events in the order in which they come. */
export function recordEvents(emitter: NodeJS.EventEmitter, names: readonly string[]): string[] {
  const seen: string[] = [];
  for (const name of names) emitter.on(name, () => seen.push(name));
  return seen;
}

/** Resolved with what 'close' says. Unlike events.once it takes an 'error' on the way as it comes. */
export function closeOf(socket: Socket): Promise<boolean> {
  return new Promise((resolve) => socket.once('close', resolve));
}
