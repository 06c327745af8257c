// TLS in front of the servers: a handshake with the certificate for the name that the client asks for, and ALPN for HTTP/2 or HTTP/1.1.

import type { Duplex } from 'node:stream';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import type { Caller } from '../inbound/inbound.js';
import type { GatewayCertificate, GatewayTls } from '../options.js';
import { Certificates } from './certificates.js';

export interface EntranceOwner {
  acceptConnection(socket: Duplex, caller: Caller, protocol: 'h2' | 'http/1.1' | undefined): void;
  warn(error: Error): void;
}

/** Where node:tls keeps the socket below; one without a handle of the system is within a wrap. */
interface TlsParent {
  _parent?: Duplex & { stream?: Duplex };
}

export class TlsEntrance {
  private readonly server: Server;
  private readonly certificates: Certificates;
  private readonly callers = new WeakMap<Duplex, Caller>();

  constructor(
    private readonly owner: EntranceOwner,
    files: readonly GatewayCertificate[],
    tls: GatewayTls | undefined,
    handshakeTimeoutMs: number,
  ) {
    this.certificates = new Certificates(
      files,
      tls,
      () => this.useFirst(),
      (error) => owner.warn(error),
    );
    this.server = createServer({
      ALPNProtocols: ['h2', 'http/1.1'],
      allowHalfOpen: true,
      handshakeTimeout: handshakeTimeoutMs,
      requestCert: tls?.clientCa !== undefined,
      rejectUnauthorized: tls?.requireClientCertificate === true,
      minVersion: tls?.minVersion ?? 'TLSv1.2',
      SNICallback: (servername, callback) => callback(null, this.certificates.contextFor(servername)),
    });
    this.server.on('secureConnection', (socket) => this.onSecure(socket));
    this.server.on('tlsClientError', (_error, socket) => socket.destroy());
  }

  /** Reads the certificates. @throws ERR_STARLANE_OPTION */
  async load(): Promise<void> {
    await this.certificates.load();
    this.useFirst();
  }

  watch(): void {
    this.certificates.watch();
  }

  /** Does the handshake on a connection. */
  accept(socket: Duplex, caller: Caller): void {
    // As long as ACME has not brought the first certificate.
    if (this.certificates.first === undefined) {
      socket.destroy();
      return;
    }
    this.callers.set(socket, caller);
    this.server.emit('connection', socket);
  }

  /** Watches its files no longer. Connections stay. */
  close(): void {
    this.certificates.close();
  }

  private useFirst(): void {
    const { first } = this.certificates;
    if (first !== undefined) this.server.setSecureContext(first);
  }

  private onSecure(socket: TLSSocket): void {
    const { _parent: parent } = socket as TlsParent;
    const carrier = parent?.stream ?? parent;
    const caller = carrier === undefined ? undefined : this.callers.get(carrier);
    if (caller === undefined || carrier === undefined) {
      socket.destroy();
      return;
    }
    socket.on('close', () => carrier.destroy());
    const name = socket.authorized ? socket.getPeerCertificate().subject?.CN : undefined;
    const isNamed = caller.peerId === undefined && typeof name === 'string';
    const secure: Caller = {
      ...caller,
      isSecure: true,
      peerName: isNamed ? name : caller.peerName,
      isVerified: isNamed || caller.isVerified,
    };
    this.owner.acceptConnection(socket, secure, socket.alpnProtocol === 'h2' ? 'h2' : 'http/1.1');
  }
}
