// Proxies of specs, on loopback. They lead every name to the port that is asked for on this machine, as a name that leads here would be
// dialled without a proxy.

import { once } from 'node:events';
import { createServer as createHttpServer, type IncomingMessage } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { createServer as createSocksServer } from '@pondwader/socks5-server';
import type { Certificate } from './certificates.js';

/** A server of a spec that closes with everything that is connected to it. */
export class SpecServer {
  private readonly sockets = new Set<Duplex>();

  private constructor(
    private readonly server: Server,
    readonly port: number,
  ) {}

  static async start(server: Server, port = 0): Promise<SpecServer> {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    const started = new SpecServer(server, (server.address() as AddressInfo).port);
    server.on('connection', (socket: Socket) => started.keep(socket));
    return started;
  }

  /** A server that says nothing. */
  static mute(): Promise<SpecServer> {
    return SpecServer.start(createServer((socket) => socket.resume()));
  }

  /** Ends a Duplex with the server. */
  keep(duplex: Duplex): void {
    this.sockets.add(duplex);
    duplex.on('error', () => {});
    duplex.once('close', () => this.sockets.delete(duplex));
  }

  /** Resolves when nothing is connected any more. */
  async idle(): Promise<void> {
    await Promise.all([...this.sockets].map((socket) => new Promise((resolve) => socket.once('close', resolve))));
  }

  get connections(): number {
    return this.sockets.size;
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    if (!this.server.listening) return;
    this.server.close();
    await once(this.server, 'close');
  }
}

/** A proxy, and what it was asked for. */
export interface SpecProxy {
  readonly url: string;
  readonly port: number;
  /** The targets, as `host:port`. */
  readonly asked: string[];
  readonly server: SpecServer;
  close(): Promise<void>;
}

interface ProxySetup {
  readonly user?: string;
  readonly password?: string;
  /** Default: any that is free. */
  readonly port?: number;
  /** Makes it a proxy to which clients speak tls. */
  readonly certificate?: Certificate;
  /** Where a target leads. Default: the same port of this machine. */
  lead?(host: string, port: number): { host: string; port: number } | undefined;
}

const here = (_host: string, port: number): { host: string; port: number } => ({ host: '127.0.0.1', port });

/** A proxy that offers CONNECT, made of Node's own server. */
export async function httpProxy({
  user,
  password,
  port,
  certificate,
  lead = here,
}: ProxySetup = {}): Promise<SpecProxy> {
  const http = certificate === undefined ? createHttpServer() : createHttpsServer(certificate);
  const server = await SpecServer.start(http, port);
  const asked: string[] = [];
  http.on('connect', (request: IncomingMessage, client: Duplex, head: Buffer) => {
    server.keep(client);
    const given = request.headers['proxy-authorization'];
    const wanted = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
    if (user !== undefined && given !== wanted) {
      client.end('HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="spec"\r\n\r\n');
      return;
    }
    asked.push(request.url as string);
    const { hostname, port } = new URL(`http://${request.url}`);
    const target = lead(hostname, Number(port === '' ? 80 : port));
    if (target === undefined) {
      client.end('HTTP/1.1 403 Forbidden\r\n\r\n');
      return;
    }
    const socket = connect(target);
    server.keep(socket);
    socket.once('error', () => client.end('HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\n\r\n<h1>no</h1>'));
    socket.once('connect', () => {
      client.write('HTTP/1.1 200 Connection established\r\nVia: 1.1 spec\r\n\r\n');
      socket.write(head);
      splice(client, socket);
    });
  });
  const scheme = certificate === undefined ? 'http' : 'https';
  return {
    url: urlOf(scheme, server.port, user, password),
    port: server.port,
    asked,
    server,
    close: () => server.close(),
  };
}

/** A SOCKS proxy, of a package that others use as well. */
export async function socksProxy({ user, password, port, lead = here }: ProxySetup = {}): Promise<SpecProxy> {
  const asked: string[] = [];
  const auth = user === undefined || password === undefined ? undefined : { username: user, password };
  const socks = createSocksServer(auth === undefined ? {} : { auth });
  const server = await SpecServer.start(
    createServer((socket) => socks._handleConnection(socket)),
    port,
  );
  socks.setConnectionHandler((connection, sendStatus) => {
    const { destAddress = '', destPort = 0, socket: client } = connection;
    asked.push(`${destAddress}:${destPort}`);
    const target = lead(destAddress, destPort);
    if (target === undefined) {
      sendStatus('CONNECTION_NOT_ALLOWED');
      return;
    }
    const socket = connect(target);
    server.keep(socket);
    socket.once('error', () => sendStatus('CONNECTION_REFUSED'));
    socket.once('connect', () => {
      sendStatus('REQUEST_GRANTED');
      splice(client, socket);
    });
  });
  return {
    url: urlOf('socks5', server.port, user, password),
    port: server.port,
    asked,
    server,
    close: () => server.close(),
  };
}

/** A server that sends each client this, whatever it says, once it has said something; as a list, one after the other. */
export function answering(...answers: Array<string | Buffer>): Promise<SpecServer> {
  return SpecServer.start(
    createServer((socket) => {
      const left = [...answers];
      socket.on('data', () => {
        const next = left.shift();
        if (next !== undefined) socket.write(next);
      });
    }),
  );
}

function splice(one: Duplex, other: Duplex): void {
  one.pipe(other).pipe(one);
  one.once('close', () => other.destroy());
  other.once('close', () => one.destroy());
}

function urlOf(scheme: string, port: number, user?: string, password?: string): string {
  const auth = user === undefined ? '' : `${encodeURIComponent(user)}:${encodeURIComponent(password ?? '')}@`;
  return `${scheme}://${auth}127.0.0.1:${port}`;
}
