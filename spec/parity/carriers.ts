// What the table of cases runs over: node:net itself, and `node.net` over every way there is between two nodes. A further
// way is a further entry of NEAR_KINDS or RELAY_KINDS.

import { once } from 'node:events';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createNode, type Node, type NodeOptions } from '../../lib/index.js';
import { listenAddress, testnet } from '../support/testnet.js';

export type Net = typeof import('node:net');

/** A place to dial or to listen at. */
export interface Place {
  readonly port: number;
  readonly host: string;
}

export interface Carrier {
  readonly isOverlay: boolean;
  /** The module that servers are made with. */
  readonly serverNet: Net;
  /** The module that sockets are made with. */
  readonly clientNet: Net;
  /** The kind of addresses, as in `family`. */
  readonly family: string;
  /** The address of the server's end, and of the client's. */
  readonly serverAddress: string;
  readonly clientAddress: string;
  /** A free port at a host that no other case has used. */
  listenAt(): Place;
  /** The host by which the client reaches a port that was bound without a host. */
  readonly portHost: string;
  /** For a host of listenAt, a name that has to be looked up and leads to the same place. */
  nameFor(host: string): string;
  /** A path for a server that no other case has used. */
  path(): string;
  /** Hosts that mean this machine or this node, for listening and for dialling. */
  readonly localHosts: { readonly listen: readonly string[]; readonly dial: readonly string[] };
  /** The first number that is too large for a port. */
  readonly portEnd: number;
  close(): Promise<void>;
}

export interface CarrierKind {
  readonly name: string;
  open(dialTimeoutMs: number): Promise<Carrier>;
  /** The beginning of a separate program: defines `serverNet`, `clientNet` and `place`, to listen at. */
  readonly preamble: string;
}

/**
 * A dial for an unknown name fails after this time. On a busy machine 300 dials at once, with the keys of 300 secure
 * circuits, take more than a second.
 */
export const DIAL_TIMEOUT_MS = 5_000;

const NODE_OPTIONS = { closeTimeoutMs: 100 };

let used = 0;

/** A name that no other case has used. */
function freshName(): string {
  used++;
  return `parity-${process.pid}-${used}`;
}

const hasIPv6 = Object.values(networkInterfaces()).some((addresses) =>
  addresses?.some(({ address }) => address === '::1'),
);

const nodeNet: CarrierKind = {
  name: 'node:net',
  preamble: `
    const { default: serverNet } = await import('node:net');
    const clientNet = serverNet;
    const place = { port: 0, host: '127.0.0.1' };`,
  open: async () => {
    const { default: net } = await import('node:net');
    return {
      isOverlay: false,
      serverNet: net,
      clientNet: net,
      family: 'IPv4',
      serverAddress: '127.0.0.1',
      clientAddress: '127.0.0.1',
      listenAt: () => ({ port: 0, host: '127.0.0.1' }),
      portHost: '127.0.0.1',
      nameFor: () => 'localhost',
      path: () => join(tmpdir(), `${freshName()}.sock`),
      localHosts: {
        listen: hasIPv6 ? ['0.0.0.0', '::', 'localhost', '127.0.0.1'] : ['0.0.0.0', 'localhost', '127.0.0.1'],
        dial: ['localhost', '127.0.0.1'],
      },
      portEnd: 0x1_0000,
      close: async () => {},
    };
  },
};

const LOCAL_HOSTS = {
  listen: ['0.0.0.0', '::', 'localhost', '127.0.0.1'],
  dial: ['localhost', '127.0.0.1', '::1'],
};

/** From one node to another, whichever way. */
function between(client: Node, server: Node, close: () => Promise<void>): Carrier {
  return {
    isOverlay: true,
    serverNet: server.net,
    clientNet: client.net,
    family: 'Starlane',
    serverAddress: `@${server.id}`,
    clientAddress: `@${client.id}`,
    listenAt: () => ({ port: 0, host: freshName() }),
    portHost: `@${server.id}`,
    nameFor: (host) => host,
    path: freshName,
    localHosts: LOCAL_HOSTS,
    portEnd: 0x1_0000_0000,
    close,
  };
}

const loopback: CarrierKind = {
  name: 'loopback',
  preamble: `
    const { net: serverNet } = starlane.createNode();
    const clientNet = serverNet;
    const place = { port: 0, host: '127.0.0.1' };`,
  open: async (dialTimeoutMs) => {
    const node = createNode({ ...NODE_OPTIONS, dialTimeoutMs });
    return {
      ...between(node, node, () => node.close()),
      listenAt: () => ({ port: 0, host: '127.0.0.1' }),
      portHost: '127.0.0.1',
      nameFor: () => 'localhost',
    };
  },
};

const link: CarrierKind = {
  name: 'link',
  preamble: `
    const { duplexPair } = await import('node:stream');
    const [nearEnd, farEnd] = duplexPair();
    const [joiner, listener] = [starlane.createNode(), starlane.createNode()];
    await Promise.all([joiner.attach(nearEnd), listener.attach(farEnd)]);
    const [clientNet, serverNet] = [joiner.net, listener.net];
    const place = { port: 0, host: 'parity' };`,
  open: async (dialTimeoutMs) => {
    const { joiner, listener, close } = await testnet('tcp', { ...NODE_OPTIONS, dialTimeoutMs });
    return between(joiner, listener, close);
  },
};

/** Through a relay. `options` of all three nodes are something that JSON can say. */
function throughRelay(name: string, options: NodeOptions): CarrierKind {
  return {
    name,
    preamble: `
    const { duplexPair } = await import('node:stream');
    const [dialler, between, listener] = [0, 1, 2].map(() => starlane.createNode(${JSON.stringify({ ...options, role: 'server' })}));
    for (const node of [dialler, listener]) {
      const [nearEnd, farEnd] = duplexPair();
      await Promise.all([node.attach(nearEnd), between.attach(farEnd)]);
    }
    const [clientNet, serverNet] = [dialler.net, listener.net];
    const place = { port: 0, host: 'parity' };`,
    open: async (dialTimeoutMs) => {
      // Nodes in this role make no links by themselves, so that the way stays one through the relay.
      const [dialler, middle, listener] = [0, 1, 2].map(() =>
        createNode({ ...NODE_OPTIONS, ...options, dialTimeoutMs, role: 'server' }),
      );
      const { address } = await middle.listenAndServe(listenAddress('tcp'));
      await Promise.all([dialler.join(address), listener.join(address)]);
      while (!dialler.routesMap().has(listener.id)) await once(dialler.routesMap(), 'add');
      return between(dialler, listener, async () => {
        await Promise.all([dialler.close(), middle.close(), listener.close()]);
      });
    },
  };
}

const relay = throughRelay('relay', {});

/** Encrypted from end to end: with a secret that is how circuits go through relays. */
const secure = throughRelay('secure', {
  secret: 'the secret of a network for parity',
});

/** What the table expects comes from the first of them. */
export const NEAR_KINDS: readonly CarrierKind[] = [nodeNet, loopback, link];
export const RELAY_KINDS: readonly CarrierKind[] = [relay, secure];

/** A port of 127.0.0.1 of `net` at which nothing listens. */
export function vacantPort(net: Net): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
