// One listening address of a node.

import type { Duplex } from 'node:stream';
import { formatLinkAddress, type LinkAddress } from '../../address.js';
import type { ResolvedNodeOptions } from '../../options/options.js';
import type { KeepsAlive } from '../../util/runtime/keeps-alive.js';
import { INSPECT, type Inspect, type InspectOptions, shown } from '../../util/runtime/shown.js';
import { withAddress } from '../handshake/link-fault.js';
import type { TlsFacts } from '../link-owner.js';
import { listen, type TransportListener } from './listen.js';
import type { Stranger, Strangers } from './pending-connections.js';
import type { LinkTls } from './tls.js';

export interface ListenerOwner {
  readonly options: ResolvedNodeOptions;
  readonly tls: LinkTls | undefined;
  readonly strangers: Strangers;
  receive(stranger: Stranger, duplex: Duplex, remote: string, tls: TlsFacts | undefined): void;
  /** Someone has failed to connect. */
  fault(error: Error): void;
  onListenerFailed(error: Error): void;
  onListenerClosed(listener: LinkListener): void;
}

/** What `listenAndServe` gives. Holds the process open until it, or the node, is closed, unless told otherwise. */
export class LinkListener {
  private keepsAlive: KeepsAlive | undefined;
  private isHolding = false;
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
    this.onClosed();
    this.owner.onListenerClosed(this);
  }

  /** Holds the process open again while it listens, as it does unless told otherwise. */
  ref(): this {
    if (!this.isHolding) this.keepsAlive?.hold();
    this.isHolding = this.keepsAlive !== undefined;
    return this;
  }

  /** Lets the process end while it listens. */
  unref(): this {
    if (this.isHolding) this.keepsAlive?.release();
    this.isHolding = false;
    return this;
  }

  /** @internal It listens, and holds the process open by this from now on. */
  holdBy(keepsAlive: KeepsAlive): void {
    this.keepsAlive = keepsAlive;
    this.ref();
  }

  /** @internal What console.log() prints. */
  [INSPECT](depth: number | null, options: InspectOptions, inspect: Inspect): string {
    return shown('LinkListener', { address: this.address }, depth, options, inspect);
  }

  /** @internal Other certificates from now on. */
  renewTls(): Promise<void> | undefined {
    return this.transport?.renewTls();
  }

  /** @internal */
  async start(): Promise<void> {
    const { owner } = this;
    const { insecure, handshakeTimeoutMs } = owner.options;
    this.transport = await listen(this.where, {
      tls: owner.tls,
      insecure,
      timeoutMs: handshakeTimeoutMs,
      strangers: owner.strangers,
      onStranger: (stranger, duplex, remote, tls) => owner.receive(stranger, duplex, remote, tls),
      onRefused: (remote, error) => owner.fault(withAddress(error, remote)),
      onError: (error) => {
        owner.onListenerFailed(error);
        this.onClosed();
        owner.onListenerClosed(this);
      },
    });
  }

  private onClosed(): void {
    this.unref();
    this.keepsAlive = undefined;
  }
}
