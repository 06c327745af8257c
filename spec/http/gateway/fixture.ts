// A gateway over two linked nodes, and clients for it.

import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach } from '@jest/globals';
import { type Gateway, type GatewayAccess, type GatewayOptions, gateway } from '../../../lib/http/index.js';
import type { Node } from '../../../lib/index.js';
import { within } from '../../support/deadline.js';
import { nothingLeft, watchHandles } from '../../support/open-handles.js';
import { type NodePair, nodePair } from '../../support/socket-pair.js';
import { type Answer, exchange } from '../exchange.js';

export interface GatewayFixture {
  /** The node of the gateway. */
  readonly near: Node;
  /** The node of the services. */
  readonly far: Node;
  /** Opens a gateway for `.example.test` at a free port. */
  open(options?: GatewayOptions): Promise<Gateway>;
  /** Binds an http.Server under a name, and waits until the gateway knows it. */
  serve(name: string, handler: RequestListener): Promise<Server>;
  /** Asks a gateway by HTTP/1.1. */
  get(gateway: Gateway, host: string, path?: string, headers?: Record<string, string | string[]>): Promise<Answer>;
  /** Closed at the end of the spec. */
  finally(close: () => void): void;
}

export function portOf(opened: Gateway): number {
  return opened.addresses[0].port as number;
}

/** Prepares each spec of a describe. */
export function gatewayFixture(): GatewayFixture {
  let pair: NodePair;
  let gateways: Gateway[];
  let closers: Array<() => void>;
  beforeEach(async () => {
    watchHandles();
    pair = await nodePair();
    gateways = [];
    closers = [];
  });
  afterEach(async () => {
    for (const close of closers) close();
    await Promise.all(gateways.map((opened) => opened.close({ timeoutMs: 0 })));
    await pair[Symbol.asyncDispose]();
    await nothingLeft();
  });
  return {
    get near() {
      return pair.client;
    },
    get far() {
      return pair.server;
    },
    async open(options = {}) {
      const opened = await gateway(pair.client, { listen: 0, suffix: '.example.test', ...options });
      gateways.push(opened);
      return opened;
    },
    async serve(name, handler) {
      const server = createServer(handler);
      pair.server.bind(name, server);
      await within(`the service ${name}`, pair.client.waitFor(name));
      return server;
    },
    get(opened, host, path = '/', headers = {}) {
      return exchange({ host: '127.0.0.1', port: portOf(opened), path, headers: { host, ...headers }, agent: false });
    },
    finally(close) {
      closers.push(close);
    },
  };
}

/** Sends bytes to a gateway and returns all that comes back until it closes the connection. */
export async function rawExchange(opened: Gateway, bytes: string | Buffer): Promise<string> {
  const socket = await rawSocket(opened);
  const answer = untilClose(socket);
  socket.write(bytes, 'latin1');
  return answer;
}

export async function rawSocket(opened: Gateway): Promise<Socket> {
  const socket = connect(portOf(opened), '127.0.0.1');
  socket.on('error', () => {});
  await within('the connection', once(socket, 'connect'));
  return socket;
}

/** Returns everything that comes until the other end closes. */
export function untilClose(socket: Socket): Promise<string> {
  let text = '';
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1');
  });
  const closed = new Promise<string>((resolve) => socket.once('close', () => resolve(text)));
  return within('the close of the connection', closed);
}

/** Resolved with the next entry of the access log. */
export async function nextAccess(opened: Gateway): Promise<GatewayAccess> {
  const [entry] = (await within('an entry of the access log', once(opened, 'access'))) as [GatewayAccess];
  return entry;
}
