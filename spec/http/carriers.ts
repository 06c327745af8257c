// What a web server is reached over: node:net on loopback, and a service of a node. Specs that hold for both say that a server
// or a client of Node does not notice the difference.

import { once } from 'node:events';
import { Agent as HttpAgent, type AgentOptions as HttpAgentOptions } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { type AddressInfo, connect, type Socket as NetSocket, type Server } from 'node:net';
import { type AgentOptions, agent } from '../../lib/http/index.js';
import type { BindOptions, Socket } from '../../lib/index.js';
import { type NodePair, nodePair } from '../support/socket-pair.js';

/** A server that is served. */
export interface Place {
  readonly host: string;
  readonly port: number;
  /** A socket to it. */
  connect(): NetSocket | Socket;
}

export interface Carrier extends AsyncDisposable {
  /** Serves `server`; `options` are those of bind. */
  serve(server: Server, options?: BindOptions): Promise<Place>;
  /** A place where nothing is served. */
  nowhere(): Promise<Place>;
  /** An agent whose sockets go there. Destroyed with the carrier. */
  agent(options?: AgentOptions): HttpAgent;
  /** The same for https. */
  secureAgent(options?: AgentOptions): HttpsAgent;
}

export interface CarrierKind {
  readonly name: string;
  open(): Promise<Carrier>;
}

async function netCarrier(): Promise<Carrier> {
  const servers = new Set<Server>();
  const sockets = new Set<NetSocket>();
  const agents = new Set<HttpAgent>();
  const place = (port: number): Place => ({
    host: '127.0.0.1',
    port,
    connect() {
      const socket = connect(port, '127.0.0.1').on('error', () => {});
      sockets.add(socket);
      return socket;
    },
  });
  const listen = async (server: Server): Promise<number> => {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  };
  const kept = <T extends HttpAgent>(made: T): T => {
    agents.add(made);
    return made;
  };
  return {
    async serve(server) {
      servers.add(server);
      server.on('connection', (socket: NetSocket) => sockets.add(socket));
      return place(await listen(server));
    },
    async nowhere() {
      const { Server } = await import('node:net');
      const server = new Server();
      const port = await listen(server);
      server.close();
      await once(server, 'close');
      return place(port);
    },
    agent: (options) => kept(new HttpAgent({ keepAlive: true, ...(options as HttpAgentOptions) })),
    secureAgent: (options) => kept(new HttpsAgent({ keepAlive: true, ...options })),
    async [Symbol.asyncDispose]() {
      for (const made of agents) made.destroy();
      for (const socket of sockets) socket.destroy();
      for (const server of servers) {
        if (!server.listening) continue;
        const closed = once(server, 'close');
        server.close();
        await closed;
      }
    },
  };
}

/** A service of a node that another one dials. */
export async function serviceCarrier(): Promise<Carrier & { readonly pair: NodePair }> {
  const pair = await nodePair();
  const servers = new Set<Server>();
  const agents = new Set<HttpAgent>();
  let served = 0;
  const place = (host: string, port: number): Place => ({
    host,
    port,
    connect: () => pair.client.dial(`${host}:${port}`).on('error', () => {}),
  });
  const kept = <T extends HttpAgent>(made: T): T => {
    agents.add(made);
    return made;
  };
  return {
    pair,
    async serve(server, options) {
      servers.add(server);
      const name = `web${++served}`;
      pair.server.bind(name, options, server);
      await pair.client.waitFor(name);
      return place(name, 8080);
    },
    async nowhere() {
      return place(`@${pair.server.id}`, 9);
    },
    agent: (options) => kept(agent(pair.client, options)),
    secureAgent: (options) => kept(agent(pair.client, options)),
    async [Symbol.asyncDispose]() {
      for (const made of agents) made.destroy();
      // Its timers; it listens nowhere.
      for (const server of servers) server.close();
      await pair[Symbol.asyncDispose]();
    },
  };
}

export const CARRIERS: readonly CarrierKind[] = [
  { name: 'node:net', open: netCarrier },
  { name: 'a service', open: serviceCarrier },
];
