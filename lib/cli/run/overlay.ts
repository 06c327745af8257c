// The network as a task sees it: a node in this process, or one that runs in another process of this machine.

import type { Duplex } from 'node:stream';
import { parseDestination } from '../../circuit/dial/destination.js';
import type { DialOptions } from '../../circuit/options.js';
import { hash, random, type Selector } from '../../mesh/directory/selector.js';
import type { ServiceInfo } from '../../mesh/directory/service.js';
import type { Node } from '../../node/node.js';
import type { AllowRequest, AllowRule } from '../../options/allow.js';
import type { PeerInfo } from '../../socket/endpoints.js';

/** Emits 'connect' when the service has accepted; what is written before is sent with it. */
export interface OverlaySocket extends Duplex {
  readonly peer?: PeerInfo | undefined;
  readonly connecting: boolean;
  /** Closes at once; the other end sees ECONNRESET. */
  resetAndDestroy?(): unknown;
}

export interface OverlayBindOptions {
  readonly weight?: number | undefined;
  readonly meta?: unknown;
  /** The name of this instance: it is dialled as `instance.service`, too. */
  readonly instance?: string | undefined;
  /** Patterns of names of members that may dial. */
  readonly allow?: readonly string[] | undefined;
  /** Patterns of tags of members that may dial, besides those that their names let in. */
  readonly allowTag?: readonly string[] | undefined;
}

/**
 * What has to succeed before a circuit is accepted; see `prepare` of the library's bind. The signal is aborted when the circuit has gone, and
 * nobody gets the value.
 */
export type OverlayPrepare<T> = (request: AllowRequest, signal: AbortSignal) => Promise<T>;

/** A bound service. */
export interface OverlayServer {
  /** Stops accepting; open sockets go on. Resolves when other nodes have no more reason to dial here. */
  close(): Promise<void>;
}

export interface OverlayDialOptions extends Pick<DialOptions, 'timeoutMs' | 'signal'> {
  /** Dials with the same key go to the same instance. */
  readonly key?: string | undefined;
  /** For a name without a port: the virtual port to take where the service has several. */
  readonly preferredPort?: number | undefined;
}

export interface Overlay {
  /** The id of the node. */
  readonly id: string;
  /** The node, where it is in this process. */
  readonly node: Node | undefined;
  /** Takes an address, or several as `parseDestination` reads them. Both halves end separately (`allowHalfOpen`). */
  dial(address: string, options?: OverlayDialOptions): OverlaySocket;
  /** @throws EADDRINUSE, ERR_STARLANE_ADDRESS, ERR_STARLANE_RIGHT and others */
  bind<T = undefined>(
    address: string,
    options: OverlayBindOptions & { readonly prepare?: OverlayPrepare<T> | undefined },
    handler: (socket: OverlaySocket, prepared: T) => void,
  ): Promise<OverlayServer>;
  services(): Promise<ServiceInfo[]>;
  /** Whether a node offers a service of that name now. */
  offers(service: string): Promise<boolean>;
}

/** The overlay of a node in this process. */
export class NodeOverlay implements Overlay {
  constructor(readonly node: Node) {}

  get id(): string {
    return this.node.id;
  }

  dial(address: string, options: OverlayDialOptions = {}): OverlaySocket {
    const { timeoutMs, signal, key, preferredPort } = options;
    const byKey = key === undefined ? random : hash(key);
    const selector = preferredPort === undefined ? byKey : preferring(preferredPort, byKey);
    return this.node.dial(parseDestination(address), { timeoutMs, signal, selector, allowHalfOpen: true });
  }

  bind<T = undefined>(
    address: string,
    {
      weight,
      meta,
      instance,
      prepare,
      ...who
    }: OverlayBindOptions & { readonly prepare?: OverlayPrepare<T> | undefined },
    handler: (socket: OverlaySocket, prepared: T) => void,
  ): Promise<OverlayServer> {
    return new Promise((resolve, reject) => {
      const options = { weight, meta, instance, prepare, allow: rulesOf(who), allowHalfOpen: true };
      const server = this.node.bind(address, options, (socket, prepared) => handler(socket, prepared as T));
      server.once('error', reject);
      server.once('listening', () => {
        server.removeListener('error', reject);
        resolve({
          close: () =>
            new Promise((done) => {
              // The callback comes when the last socket has closed; nobody dials here from the call on.
              server.close();
              done();
            }),
        });
      });
    });
  }

  async services(): Promise<ServiceInfo[]> {
    return this.node.services();
  }

  async offers(service: string): Promise<boolean> {
    return this.node.serviceMap().has(service);
  }
}

/** Returns a selector that takes instances at the port where there are some. */
function preferring(preferred: number, selector: Selector): Selector {
  return (instances) => {
    const there = instances.filter(({ port }) => port === preferred || port === 0);
    return selector(there.length > 0 ? there : instances);
  };
}

/** Returns rules that fit members by name or by tag; undefined when everyone may dial. */
function rulesOf({
  allow,
  allowTag,
}: Pick<OverlayBindOptions, 'allow' | 'allowTag'>): readonly AllowRule[] | undefined {
  if (allow === undefined && allowTag === undefined) return undefined;
  return [
    ...(allow === undefined || allow.length === 0 ? [] : [{ name: [...allow] }]),
    ...(allowTag === undefined || allowTag.length === 0 ? [] : [{ tag: [...allowTag] }]),
  ];
}
