// The options of a gateway, with their defaults.

import type { TrustProxy } from './forwarded.js';

/**
 * The services for a request: one, several in the order in which they are tried, or several with their shares of the requests. Each is an
 * address that `node.dial` takes: `name`, `name:port`, or `@nodeId:port`.
 */
export type GatewayServices = string | readonly string[] | Readonly<Record<string, number>>;

/** Where requests go. A text or a list is a rule with these services. */
export type GatewayTarget = string | readonly string[] | GatewayRule;

export interface GatewayRule {
  /**
   * The services. Of a list, the first one that has an instance gets the request, and the next one when no instance of it can be reached.
   * Of an object, each gets its share, `{ 'web-v1': 90, 'web-v2': 10 }`. Default none: then only `paths` match.
   */
  services?: GatewayServices | undefined;
  /**
   * Sends requests with the same key to the same service and instance, as long as it exists: `'cookie:NAME'`, `'header:NAME'`, or `'ip'` for
   * the address of the client (the first that a trusted proxy says). A request without the key goes anywhere. Default none.
   */
  sticky?: `cookie:${string}` | `header:${string}` | 'ip' | undefined;
  /** Only instances on this node: its id, or its name as a member. Default any. */
  node?: string | undefined;
  /** Whether to take the prefix of a path rule off the path. It comes as X-Forwarded-Prefix. Default false. */
  strip?: boolean | undefined;
  /** How the service is spoken to. 'auto', the default: gRPC by HTTP/2 without TLS, everything else by HTTP/1.1. */
  protocol?: 'auto' | 'http1' | 'h2c' | undefined;
  /** Milliseconds until the answer has to begin. Default `answerTimeoutMs` of the gateway. */
  answerTimeoutMs?: number | undefined;
  /** Rules for paths of this host, by prefix: `{ '/api': 'api' }`. The longest prefix counts. Not within a path rule. */
  paths?: Readonly<Record<string, GatewayTarget>> | undefined;
}

/** A certificate and its key, as paths of PEM files. */
export interface GatewayCertificate {
  cert: string;
  key: string;
}

export interface GatewayTls {
  /**
   * The certificates. The name that a client asks for (SNI) picks one of those whose subject alternative names match; the first is for all
   * other clients. The files are read again when they change.
   */
  certificates?: readonly GatewayCertificate[] | undefined;
  /** The path of a PEM file with the authorities that sign certificates of clients. Default: clients are not asked for one. */
  clientCa?: string | undefined;
  /** Whether a client without a valid certificate is refused. Needs `clientCa`. Default false. */
  requireClientCertificate?: boolean | undefined;
  /** The oldest version of TLS: 'TLSv1.2', the default, or 'TLSv1.3'. */
  minVersion?: 'TLSv1.2' | 'TLSv1.3' | undefined;
}

/** Gets certificates from an authority by ACME (RFC 8555). Needs the package acme-client, and a listener at port 80 for the authority. */
export interface GatewayAcme {
  /** The names to certify, up to 100. */
  names: readonly string[];
  /** The folder for the key of the account, the certificate and its key; made if it is missing, with mode 0700. */
  folder: string;
  /** The URL of the directory. Default that of Let's Encrypt. */
  directory?: string | undefined;
  /** For messages of the authority. */
  email?: string | undefined;
  /** Must be true: the terms of service of the authority are accepted. */
  acceptTerms: boolean;
}

/** Where a gateway listens. One of `port`, `path`, `fd` and `service`. */
export interface GatewayListener {
  /** A TCP port; 0 picks a free one. */
  port?: number | undefined;
  /** The address of the interface. Default '127.0.0.1'; '::' for all. */
  host?: string | undefined;
  /** The path of a unix socket. */
  path?: string | undefined;
  /** A listening socket that the process has inherited, as by socket activation: 3 is the first. */
  fd?: number | undefined;
  /** A service of the mesh that is bound for the gateway, so that nodes can use it as well. */
  service?: string | undefined;
  /** Whether to speak TLS here. Needs the option `tls` or `acme`. Default false. */
  tls?: boolean | undefined;
  /** Whether each connection begins with a header of the PROXY protocol, version 1 or 2. Only from callers in `trustProxy`. Default false. */
  proxyProtocol?: boolean | undefined;
}

export interface GatewayLimits {
  /** Connections open at once. Further ones are closed. Default 16384. */
  maxConnections?: number | undefined;
  /** Connections of one address, other than those of trusted proxies. Default 1024. */
  maxConnectionsPerAddress?: number | undefined;
  /** Requests open at once. Further ones get status 503. Default 16384. */
  maxRequests?: number | undefined;
  /** Requests open at once on one connection. Default 128. */
  maxRequestsPerConnection?: number | undefined;
  /** Bytes of the head of a request. Default 16384. */
  maxHeaderBytes?: number | undefined;
  /** Header fields of a request. Default 128. */
  maxHeaders?: number | undefined;
  /** Bytes of path and query. Default 8192. */
  maxUrlBytes?: number | undefined;
  /** Milliseconds for the TLS handshake, and again for the head of a request. Default 10000. */
  headersTimeoutMs?: number | undefined;
  /** Milliseconds that a connection may wait for its next request. Default 60000. */
  keepAliveTimeoutMs?: number | undefined;
  /** Milliseconds that a client may pause in the body of a request, or in reading an answer. Default 60000. */
  bodyTimeoutMs?: number | undefined;
  /** Milliseconds until a service has begun its answer, after the whole request was sent. Default 60000. */
  answerTimeoutMs?: number | undefined;
  /** Milliseconds that an answer, a WebSocket or a stream of gRPC may be silent. Default 600000. */
  idleTimeoutMs?: number | undefined;
  /** Milliseconds to reach a service. Default 10000. */
  dialTimeoutMs?: number | undefined;
  /** Milliseconds to wait for a service that no node offers. Default 1000. */
  absentTimeoutMs?: number | undefined;
}

export interface GatewayOptions extends GatewayLimits {
  /** Where to listen: a port, an object, or a list of them. Default 8080 on 127.0.0.1. */
  listen?: number | GatewayListener | ReadonlyArray<number | GatewayListener> | undefined;
  /** Suffixes of hosts whose first label names a service: `.example.test` sends `web.example.test` to `web`. Default none. */
  suffix?: string | readonly string[] | undefined;
  /** Names of services that a suffix may lead to; `*` stands for any run of characters. Default all. */
  expose?: string | readonly string[] | undefined;
  /** Rules for hosts: `{ 'shop.example.test': 'shop', '*.blog.test': 'blog' }`. They come before suffixes. */
  hosts?: Readonly<Record<string, GatewayTarget>> | undefined;
  /** Rules for paths of hosts that have no rule and no suffix, by prefix. */
  paths?: Readonly<Record<string, GatewayTarget>> | undefined;
  /** For requests that no rule matches. Default: status 404. */
  default?: GatewayTarget | undefined;
  /** Callers whose X-Forwarded-* and Forwarded are kept: true for all, false for none, or addresses and CIDRs. Default false. */
  trustProxy?: TrustProxy | undefined;
  /** Certificates for listeners with `tls`. */
  tls?: GatewayTls | undefined;
  /** Certificates by ACME for listeners with `tls`. */
  acme?: GatewayAcme | undefined;
  /** Whether circuits to services are encrypted from end to end, as the option `secure` of `dial`. */
  secure?: boolean | undefined;
}
