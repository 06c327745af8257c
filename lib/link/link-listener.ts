// One listening address of a node.

import type { Duplex } from 'node:stream';
import { formatLinkAddress, type LinkAddress } from '../address.js';
import { StarlaneError } from '../errors.js';
import type { ResolvedNodeOptions } from '../options.js';
import { listen, type TransportListener } from './transport.js';

export interface ListenerOwner {
  readonly options: ResolvedNodeOptions;
  receive(duplex: Duplex, remote: string): void;
  /** Someone has failed to connect. */
  fault(error: Error): void;
  onListenerFailed(error: Error): void;
  onListenerClosed(listener: LinkListener): void;
}

/** What `listenAndServe` gives. Holds the process open until it, or the node, is closed. */
export class LinkListener {
  private transport: TransportListener | undefined;

  /** @internal */
  constructor(
    private readonly where: LinkAddress,
    private readonly owner: ListenerOwner,
  ) {}

  /** Where it listens, with the real port. */
  get address(): string {
    return this.transport === undefined ? formatLinkAddress(this.where) : this.transport.address;
  }

  /** Stops listening. Links stay. */
  async close(): Promise<void> {
    await this.transport?.close();
    this.owner.onListenerClosed(this);
  }

  /** @internal */
  async start(): Promise<void> {
    const { owner } = this;
    const { tls, insecure, handshakeTimeoutMs, maxPendingHandshakes } = owner.options;
    this.transport = await listen(this.where, {
      tls,
      insecure,
      timeoutMs: handshakeTimeoutMs,
      maxPending: maxPendingHandshakes,
      onConnection: (duplex, remote) => owner.receive(duplex, remote),
      onRefused: (remote, error) =>
        owner.fault(new StarlaneError('ERR_STARLANE_TRANSPORT', `${remote}: ${error.message}`, { cause: error })),
      onError: (error) => {
        owner.onListenerFailed(error);
        owner.onListenerClosed(this);
      },
    });
  }
}
