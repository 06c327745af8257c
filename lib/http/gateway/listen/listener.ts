// One place where a gateway listens: a TCP port, a unix socket, an inherited socket, or a name in the mesh.

import { createServer, type Server as NetServer, type Socket as NetSocket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Node } from '../../../node/node.js';
import type { Server } from '../../../socket/server.js';
import type { Socket } from '../../../socket/socket.js';
import { clearTimeout, setTimeout } from '../../../util/runtime/real-timers.js';
import type { GatewayConfig } from '../config.js';
import { plainAddress } from '../forwarded.js';
import type { Caller } from '../inbound/inbound.js';
import type { GatewayListener } from '../options.js';
import { type ProxyHeader, readProxyHeader } from './proxy-header.js';
import type { TlsEntrance } from './tls-entrance.js';

export interface ListenerOwner {
  readonly node: Node;
  readonly config: GatewayConfig;
  readonly entrance: TlsEntrance | undefined;
  warn(error: Error): void;
  admit(socket: Duplex, address: string | undefined): boolean;
  acceptConnection(socket: Duplex, caller: Caller, protocol: 'h2' | 'http/1.1' | undefined): void;
}

const BACKLOG = 511;

/** Returns what makes two listeners the same. */
export function listenerKey({ port, host, path, fd, service, tls, proxyProtocol }: GatewayListener): string {
  return JSON.stringify([port, host, path, fd, service, tls === true, proxyProtocol === true]);
}

export class Listener {
  readonly key: string;
  private server: NetServer | Server | undefined;
  private readonly sockets = new Set<Duplex>();

  constructor(
    private readonly owner: ListenerOwner,
    private readonly options: GatewayListener,
  ) {
    this.key = listenerKey(options);
  }

  get address(): {
    host: string | undefined;
    port: number | undefined;
    path: string | undefined;
    service: string | undefined;
    tls: boolean;
  } {
    const { path, service, tls } = this.options;
    const bound = service === undefined && path === undefined ? this.server?.address() : undefined;
    const address = typeof bound === 'object' && bound !== null ? bound : undefined;
    return { host: address?.address, port: address?.port, path, service, tls: tls === true };
  }

  async open(): Promise<void> {
    const { service } = this.options;
    this.server = service === undefined ? await this.openSystem() : await this.openService(service);
  }

  /** Stops listening. Connections stay. */
  close(): void {
    this.server?.close();
  }

  /** Closes its connections as well. */
  destroy(): void {
    this.close();
    for (const socket of this.sockets) socket.destroy();
  }

  private openSystem(): Promise<NetServer> {
    const { port, host = '127.0.0.1', path, fd } = this.options;
    // A client may end its half after a request, and still reads the answer.
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.onSocket(socket));
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.once('listening', () => {
        server.off('error', reject);
        // Such as EMFILE: the next connection may be accepted again.
        server.on('error', () => {});
        resolve(server);
      });
      if (fd !== undefined) server.listen({ fd });
      else if (path !== undefined) server.listen({ path, backlog: BACKLOG });
      else server.listen({ port, host, backlog: BACKLOG });
    });
  }

  private openService(service: string): Promise<Server> {
    const server = this.owner.node.bind(service, { allowHalfOpen: true }, (socket: Socket) =>
      this.onMeshSocket(socket),
    );
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      if (server.listening) resolve(server);
      else server.once('listening', () => resolve(server));
    });
  }

  private onSocket(socket: NetSocket): void {
    const address = plainAddress(socket.remoteAddress);
    if (!this.owner.admit(socket, address)) return;
    this.keep(socket);
    const caller: Caller = {
      address,
      port: socket.remotePort,
      isSecure: false,
      peerId: undefined,
      peerName: undefined,
      isVerified: false,
    };
    this.start(socket, caller);
  }

  private onMeshSocket(socket: Socket): void {
    if (!this.owner.admit(socket, undefined)) return;
    this.keep(socket);
    const { peer, verified } = socket;
    const caller: Caller = {
      address: undefined,
      port: undefined,
      isSecure: false,
      peerId: peer?.id,
      peerName: peer?.name,
      isVerified: verified,
    };
    this.start(socket, caller);
  }

  private keep(socket: Duplex): void {
    this.sockets.add(socket);
    socket.on('close', () => this.sockets.delete(socket));
    socket.on('error', () => {});
  }

  private start(socket: Duplex, caller: Caller): void {
    if (this.options.proxyProtocol !== true) this.enter(socket, caller);
    else if (this.owner.config.trust.includes(caller)) this.readProxyHeader(socket, caller);
    else socket.destroy();
  }

  private enter(socket: Duplex, caller: Caller): void {
    const { owner } = this;
    if (this.options.tls !== true) owner.acceptConnection(socket, caller, undefined);
    else if (owner.entrance !== undefined) owner.entrance.accept(socket, caller);
    else socket.destroy();
  }

  /** Reads for whom the proxy connects. What follows is the connection of that client. */
  private readProxyHeader(socket: Duplex, caller: Caller): void {
    let seen: Buffer = Buffer.alloc(0);
    const timer = setTimeout(() => socket.destroy(), this.owner.config.limits.headersTimeoutMs).unref();
    const onReadable = (): void => {
      const chunk = socket.read() as Buffer | null;
      if (chunk === null) return;
      seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk]);
      let header: ProxyHeader | undefined;
      try {
        header = readProxyHeader(seen);
      } catch {
        socket.destroy();
        return;
      }
      if (header === undefined) return;
      clearTimeout(timer);
      socket.off('readable', onReadable);
      socket.off('end', onEnd);
      if (seen.length > header.length) socket.unshift(seen.subarray(header.length));
      const { address = caller.address, port = caller.port } = header;
      this.enter(socket, { ...caller, address: plainAddress(address), port });
    };
    const onEnd = (): void => {
      socket.destroy();
    };
    socket.on('readable', onReadable);
    socket.on('end', onEnd);
    socket.on('close', () => clearTimeout(timer));
  }
}
