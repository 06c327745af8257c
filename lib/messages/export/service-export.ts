// One service of a network, offered in another one by a node of each, and nothing else: a circuit that comes in is accepted when the
// service itself has accepted one, and both are joined.

import { EventEmitter } from 'node:events';
import type { Duplex } from 'node:stream';
import { random, type Selector } from '../../mesh/directory/selector.js';
import type { ServiceInfo } from '../../mesh/directory/service.js';
import type { AllowRequest } from '../../options/allow.js';
import { Passage, reset } from '../../socket/passage.js';
import type { Socket } from '../../socket/socket.js';
import { Deadline, waitWithin } from '../../util/deadline.js';
import { sharedTimers } from '../../util/timers.js';
import { UnheardFaults } from '../../util/warnings.js';
import { MESSAGE_PORT } from '../ports.js';
import { addressOf, type ExportedName, isOffered } from './offered.js';
import { Pins } from './pins.js';

/** How long the service may take to accept. */
const DIAL_MS = 4_000;
/** A name that cannot be bound is tried again so often. */
const RETRY_MS = 5_000;
const CLOSE_MS = 5_000;

/** The network that has the service: what an export needs of a node. */
export interface ExportSource {
  serviceMap(): {
    get(service: string): readonly ServiceInfo[];
    on(event: 'add' | 'remove', listener: (service: ServiceInfo) => void): unknown;
    removeListener(event: 'add' | 'remove', listener: (service: ServiceInfo) => void): unknown;
  };
  dial(
    address: string,
    options: { selector: Selector; signal: AbortSignal; timeoutMs: number; allowHalfOpen: true },
  ): Socket;
}

/** Binds the service in the other network, and returns what ends that. */
export type ExportBind = (
  prepare: (request: AllowRequest, signal: AbortSignal) => Promise<Inner>,
  onCircuit: (circuit: Duplex, inner: Inner) => void,
  /** To be called when it is bound no more, without a close. */
  onLost: () => void,
) => Promise<{ close(): unknown }>;

/** A circuit to the service that waits to be joined. */
export interface Inner {
  readonly socket: Socket;
  /** Called once, at its end. */
  readonly release: () => void;
}

/** Events of {@link ServiceExport}. */
export interface ServiceExportEvents {
  /** The service is offered in the other network. */
  offer: [];
  /** It is offered no more. */
  withdraw: [];
  /** It cannot be offered, and is tried again after 5 s. Without a listener, the error becomes a warning of the process. */
  warning: [error: Error];
}

/** What an exported service has counted. */
export interface ServiceExportStats {
  /** Whether it is offered in the other network at the moment. */
  readonly offered: boolean;
  /** Circuits that are open. */
  readonly circuits: number;
  /** Circuits that were accepted since the start. */
  readonly accepted: number;
  /** Circuits that the service has not accepted, or that were too many. */
  readonly refused: number;
}

/** An exported service. Made by {@link exportService}. */
export class ServiceExport extends EventEmitter<ServiceExportEvents> {
  /** @internal Called when it is closed, and no circuit is left. */
  onStopped: (() => void) | undefined;
  private server: { close(): unknown } | undefined;
  private wantsOffer = false;
  private isClosed = false;
  /** Binds and unbinds take turns. */
  private turn: Promise<void> = Promise.resolve();
  private readonly passages = new Set<Passage>();
  private pending = 0;
  private accepted = 0;
  private refused = 0;
  private readonly onEmpty = new Set<() => void>();
  private readonly pins: Pins | undefined;
  private readonly unheard = new UnheardFaults(() => sharedTimers.now());
  private readonly retry = new Deadline(sharedTimers, () => this.look());
  private readonly onChange = ({ service }: ServiceInfo): void => {
    if (service === this.name.service) this.look();
  };

  /** @internal */
  constructor(
    private readonly source: ExportSource,
    private readonly name: ExportedName,
    private readonly maxCircuits: number,
    private readonly bind: ExportBind,
  ) {
    super();
    if (name.port === MESSAGE_PORT) this.pins = new Pins(() => sharedTimers.now());
    const map = source.serviceMap();
    map.on('add', this.onChange);
    map.on('remove', this.onChange);
    this.look();
  }

  /** Whether the service is offered in the other network at the moment. */
  get isOffered(): boolean {
    return this.server !== undefined;
  }

  /** Returns everything that is counted. */
  stats(): ServiceExportStats {
    const { passages, accepted, refused } = this;
    return { offered: this.isOffered, circuits: passages.size, accepted, refused };
  }

  /**
   * Offers the service no more. Open circuits have `timeoutMs` (default 5000) to end, and are reset then; a second call may give them less.
   * Resolves when none is left.
   */
  async close({ timeoutMs = CLOSE_MS }: { timeoutMs?: number | undefined } = {}): Promise<void> {
    this.stop();
    await this.turn;
    if (this.passages.size > 0) {
      const late = new Deadline(sharedTimers, () => this.resetAll());
      late.set(Math.max(0, timeoutMs));
      await new Promise<void>((resolve) => this.onEmpty.add(resolve));
      late.clear();
    }
    this.onStopped?.();
  }

  /** Does what `close()` does, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** @internal Called when one of the two nodes has closed. */
  end(): void {
    this.stop();
    this.resetAll();
  }

  private stop(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.retry.clear();
    const map = this.source.serviceMap();
    map.removeListener('add', this.onChange);
    map.removeListener('remove', this.onChange);
    this.look();
  }

  private resetAll(): void {
    for (const passage of [...this.passages]) passage.reset();
  }

  // --- offered or not ---

  private candidates(): readonly ServiceInfo[] {
    return this.source
      .serviceMap()
      .get(this.name.service)
      .filter((instance) => isOffered(this.name, instance));
  }

  private look(): void {
    this.wantsOffer = !this.isClosed && this.candidates().length > 0;
    // At once: from now on nobody is to dial here.
    if (!this.wantsOffer) this.withdraw();
    this.turn = this.turn.then(() => this.offer());
  }

  private async offer(): Promise<void> {
    if (!this.wantsOffer || this.server !== undefined) return;
    try {
      const server = await this.bind(
        (request, signal) => this.prepare(request, signal),
        (circuit, inner) => this.onCircuit(circuit, inner),
        () => this.onLost(),
      );
      this.server = server;
      if (this.wantsOffer) this.emit('offer');
      else this.withdraw();
    } catch (error) {
      if (this.isClosed) return;
      this.retry.set(RETRY_MS);
      if (!this.emit('warning', error as Error)) this.unheard.report(error as Error);
    }
  }

  private onLost(): void {
    if (this.server === undefined) return;
    this.server = undefined;
    this.emit('withdraw');
    if (!this.isClosed) this.retry.set(RETRY_MS);
  }

  private withdraw(): void {
    const { server } = this;
    if (server === undefined) return;
    this.server = undefined;
    server.close();
    this.emit('withdraw');
  }

  // --- circuits ---

  private async prepare({ peer }: AllowRequest, signal: AbortSignal): Promise<Inner> {
    if (this.passages.size + this.pending >= this.maxCircuits) {
      this.refused++;
      throw new Error(`the export has as many circuits as it may (${this.maxCircuits})`);
    }
    this.pending++;
    try {
      const socket = await this.dial(peer.id, signal);
      const unpin = this.pins?.opened(peer.id, socket.peer?.id ?? '');
      socket.once('close', () => unpin?.());
      let isReleased = false;
      const release = () => {
        if (isReleased) return;
        isReleased = true;
        this.pending--;
      };
      // The circuit may end before it is accepted.
      socket.once('close', release);
      return { socket, release };
    } catch (error) {
      this.pending--;
      this.refused++;
      throw error;
    }
  }

  private async dial(callerId: string, signal: AbortSignal): Promise<Socket> {
    const { name, pins } = this;
    const selector: Selector = (instances) => {
      const fit = instances.filter((instance) => isOffered(name, instance));
      return pins === undefined ? (fit.length === 0 ? undefined : random(fit)) : pins.pick(callerId, fit);
    };
    const options = { selector, signal, timeoutMs: DIAL_MS, allowHalfOpen: true } as const;
    const socket = this.source.dial(addressOf(name), options);
    // Stays: it may fail before it is joined.
    socket.on('error', () => {});
    await waitWithin(sharedTimers, { signal }, (resolve, reject) => {
      socket.once('connect', () => resolve(undefined));
      socket.once('error', reject);
      return undefined;
    });
    return socket;
  }

  private onCircuit(circuit: Duplex, { socket, release }: Inner): void {
    release();
    if (socket.destroyed) {
      circuit.on('error', () => {});
      reset(circuit);
      return;
    }
    this.accepted++;
    const passage = new Passage(circuit, socket, (over) => {
      this.passages.delete(over);
      if (this.passages.size > 0) return;
      for (const resolve of this.onEmpty) resolve();
    });
    this.passages.add(passage);
  }
}
