// Nodes linked in every way there is, for specs that must hold on all of them.

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Duplex, duplexPair } from 'node:stream';
import { createNode, type Link, type Node } from '../../lib/index.js';
import type { NodeOptions } from '../../lib/options/options.js';
import { memberTls } from './certificates.js';

export type LinkKind = 'memory' | 'tcp' | 'tls' | 'unix';
export const LINK_KINDS: readonly LinkKind[] = ['memory', 'tcp', 'tls', 'unix'];

/** Two linked nodes. */
export interface Testnet {
  /** The one that joined, or was attached as client. */
  readonly joiner: Node;
  readonly listener: Node;
  /** The joiner's end. */
  readonly link: Link;
  /** What to join, when it can be joined. */
  readonly address: string | undefined;
  /** Cuts the link as a dead network does: neither end has said goodbye. */
  cut(): void;
  close(): Promise<void>;
}

/** A fresh path for a unix socket. Short: they have 108 bytes at most. */
export function socketPath(): string {
  return join(tmpdir(), `starlane-${randomBytes(6).toString('hex')}.sock`);
}

/** An address to listen at. */
export function listenAddress(kind: Exclude<LinkKind, 'memory'>): string {
  return kind === 'unix' ? `unix:${socketPath()}` : `${kind}://127.0.0.1:0`;
}

export async function testnet(kind: LinkKind, options: NodeOptions = {}): Promise<Testnet> {
  const nodeOptions = kind === 'tls' ? { ...options, tls: await memberTls() } : options;
  const joiner = createNode(nodeOptions);
  const listener = createNode(nodeOptions);
  const close = async (): Promise<void> => {
    await Promise.all([joiner.close(), listener.close()]);
  };
  if (kind === 'memory') {
    const [near, far] = duplexPair();
    const [link] = await Promise.all([joiner.attach(near), listener.attach(far)]);
    return { joiner, listener, link, address: undefined, cut: () => cutPair(near, far), close };
  }
  const { address } = await listener.listenAndServe(listenAddress(kind));
  let farEnd: Link | undefined;
  listener.on('link', (link) => {
    farEnd = link;
  });
  const up = once(listener, 'link');
  const [link] = await Promise.all([joiner.join(address), up]);
  return { joiner, listener, link, address, cut: () => farEnd?.destroy(new Error('cut')), close };
}

/** A pair in memory has no network between its ends that could fail on its own. */
function cutPair(near: Duplex, far: Duplex): void {
  near.destroy();
  far.destroy();
}

/** Waits until a node knows a service. */
export async function knows(node: Node, service: string): Promise<void> {
  await node.waitFor(service);
}

/** Waits until a node does not know any instance of a service. */
export async function forgets(node: Node, service: string): Promise<void> {
  while (node.serviceMap().has(service)) await once(node, 'unservice');
}

/** Everything that arrives until the peer ends. Unlike an iteration, it leaves the writing half open. */
export function readToEnd(socket: Duplex): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.once('end', () => resolve(Buffer.concat(chunks)));
    socket.once('error', reject);
  });
}
