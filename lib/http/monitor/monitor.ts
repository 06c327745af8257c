// What users of the monitor see.

import type { Node } from '../../node/node.js';
import type { TlsFiles } from '../../options/security.js';
import { NodeSource } from './node-source.js';
import { startMonitor } from './server.js';

export interface MonitorOptions {
  /** Where to listen: a host name or an address of this machine. Default `127.0.0.1`. */
  readonly host?: string | undefined;
  /** 0 to 65535; 0 picks a free one. Default 8080. */
  readonly port?: number | undefined;
  /**
   * What a reader has to know, 16 to 256 characters without spaces; true for a random one. Default: none on loopback, where each program of the machine
   * may read the page, and a random one elsewhere.
   */
  readonly token?: string | true | undefined;
  /**
   * What clients send that are no members, as `Authorization: Bearer`, 16 to 256 characters without spaces: they get `/api/v1/services` and
   * `/api/v1/nodes`, with what a node may dial that proves nothing, and `/api/v1/health`, `ready` and `hop`, and nothing else. Default: none.
   */
  readonly guestToken?: string | undefined;
  /** Certificate and key, in PEM, for https. */
  readonly tls?: Pick<TlsFiles, 'cert' | 'key'> | undefined;
  /** True permits http without TLS beyond loopback, where others may read the token and the page on the way. */
  readonly insecure?: boolean | undefined;
  /** Names under which the page may be asked for, besides those of loopback: that of a proxy before it, for example. Default: any beyond loopback. */
  readonly allowedHosts?: readonly string[] | undefined;
  /** Pages that may be open at a time, 1 to 1,024. Default 32. */
  readonly maxReaders?: number | undefined;
}

/** A running monitor. */
export interface Monitor {
  /** Where the page is, as `http://127.0.0.1:8080/`. */
  readonly url: string;
  /** What a reader has to know; undefined where nothing is needed. */
  readonly token: string | undefined;
  /**
   * Where the page is, with the token behind `#`, which browsers do not send: the page logs in with it and removes it from the address. The same as
   * `url` without a token.
   */
  readonly loginUrl: string;
  /** Ends the page of every reader, and stops listening. */
  close(): Promise<void>;
  /** Lets the monitor hold the process open, which is the default. */
  ref(): this;
  /** Lets the process end while the monitor is running. */
  unref(): this;
}

/**
 * Serves a page that shows what a node sees of its network: topology, services, links, streams, members and events, live. It is read-only. Resolves when it
 * listens. It ends with the node. Without TLS it listens on loopback alone, unless `insecure` is true.
 * @throws ERR_STARLANE_OPTION; ERR_STARLANE_INSECURE; Node's own error such as EADDRINUSE
 */
export async function monitor(node: Node, options: MonitorOptions = {}): Promise<Monitor> {
  return startMonitor(new NodeSource(node), options);
}
