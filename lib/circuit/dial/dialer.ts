// Opens circuits for sockets: waits for the service, picks an instance, sends OPEN to it or towards it, and goes on to the
// next instance when that one refuses or cannot be reached.

import type { NodeId } from '../../address.js';
import { netError } from '../../errors.js';
import type { Selector } from '../../mesh/directory/selector.js';
import type { ServiceInstance } from '../../mesh/directory/service.js';
import type { ServiceTable } from '../../mesh/directory/service-table.js';
import { kAttachStream, kEstablish, kWhenOver } from '../../mux/hidden.js';
import type { MuxStream } from '../../mux/stream/stream.js';
import type { FarEnd } from '../../socket/far-end.js';
import type { Socket } from '../../socket/socket.js';
import type { Timers } from '../../util/timers.js';
import { MAX_OPEN_BYTES, writeOpen } from '../../wire/open.js';
import { FIRST_FREE_PORT } from '../bindings.js';
import { RelayedTraffic, type Shortcuts } from '../direct-links.js';
import { Crankback, type CrankbackHost } from '../open/crankback.js';
import { HopSearch } from '../open/hop-search.js';
import type { Path, Paths } from '../path.js';
import type { RelayedEndpoint, RemoteEndpoints } from '../remote-endpoints.js';
import type { SecureDial } from '../secure/handshake.js';
import type { CircuitSecurity } from '../secure/security.js';
import { Attempt, type AttemptHost, type DialRequest } from './attempt.js';
import { CircuitIds, circuitHash, type DialTarget } from './dial-target.js';
import { type DirectHop, Hedging } from './hedging.js';

/** How many links a circuit may cross. More than the diameter of a mesh of ten thousand nodes. */
const HOP_LIMIT = 16;

export interface DialerOptions {
  readonly nodeId: NodeId;
  readonly nodeIdBytes: Uint8Array;
  readonly table: ServiceTable;
  /** Why nobody is found who offers a service. */
  readonly absenceOf: (service: string, port: number | undefined) => Error;
  readonly paths: Paths;
  /** Neighbours as next hops of circuits. */
  readonly hops: CrankbackHost;
  readonly remotes: RemoteEndpoints;
  readonly security: CircuitSecurity;
  /** The link to another node, if there is one. */
  readonly directHop: (nodeId: NodeId) => DirectHop | undefined;
  /** Asked each time: there may be none. */
  readonly shortcuts: () => Shortcuts | undefined;
  /** The digest of an env that this node shares with another, if it knows one. */
  readonly sharedEnv: (nodeId: NodeId) => string | undefined;
  readonly timers: Timers;
  /** Whether instances at this node count. */
  readonly loopback: boolean;
}

/** Counts since the start. */
export interface DialCounters {
  dialled: number;
  connected: number;
  failed: number;
}

export class Dialer implements AttemptHost {
  readonly counters: DialCounters = { dialled: 0, connected: 0, failed: 0 };
  readonly paths: Paths;
  readonly timers: Timers;
  readonly hedging: Hedging;
  private readonly attempts = new Set<Attempt>();
  /** Dials that wait for a service to appear. */
  private readonly waiting = new Map<string, Set<Attempt>>();
  private readonly circuitIds: CircuitIds;
  private readonly traffic: RelayedTraffic;
  private nextPort = FIRST_FREE_PORT;
  /** OPEN is written here and copied into the session's output at once; replaced if that had to keep it. */
  private scratch = Buffer.allocUnsafeSlow(MAX_OPEN_BYTES);
  private readonly open: {
    hopLimit: number;
    dst: Uint8Array;
    dstPort: number;
    src: Uint8Array;
    srcPort: number;
    circuitId: Uint8Array;
    service: string;
    proof: Uint8Array | undefined;
  };
  private isClosed = false;

  constructor(private readonly options: DialerOptions) {
    this.paths = options.paths;
    this.timers = options.timers;
    this.hedging = new Hedging(options.directHop);
    this.circuitIds = new CircuitIds();
    this.traffic = new RelayedTraffic(options.shortcuts);
    this.open = {
      hopLimit: HOP_LIMIT,
      dst: options.nodeIdBytes,
      dstPort: 0,
      src: options.nodeIdBytes,
      srcPort: 0,
      circuitId: this.circuitIds.bytes,
      service: '',
      proof: undefined,
    };
  }

  /** Dials that are neither connected nor failed. */
  get pending(): number {
    return this.attempts.size;
  }

  /** Connects a socket in the state `connecting`, or destroys it with the error. */
  dial(
    socket: Socket,
    target: DialTarget,
    selector: Selector,
    timeoutMs: number,
    wishes: DialRequest = NO_WISHES,
  ): void {
    this.counters.dialled++;
    this.hedging.onDial();
    const attempt = new Attempt(this, socket, target, selector, wishes.localPort ?? this.takePort(), wishes);
    this.attempts.add(attempt);
    if (socket.destroyed) attempt.cancel();
    else if (this.isClosed) attempt.cancel(netError('ECANCELED', 'connect', attempt.where));
    else attempt.start(timeoutMs);
  }

  /** An instance of a service has appeared. */
  onService(instance: ServiceInstance): void {
    const waiting = this.waiting.get(instance.service);
    if (waiting === undefined) return;
    for (const attempt of [...waiting]) attempt.onService();
  }

  /** Every dial that is going on fails, and so do those to come. */
  close(): void {
    this.isClosed = true;
    for (const attempt of [...this.attempts]) attempt.cancel(netError('ECANCELED', 'connect', attempt.where));
  }

  // --- for attempts ---

  /** Instances that may be tried. Not to be kept. */
  candidates(target: DialTarget, tried: readonly ServiceInstance[] | null): readonly ServiceInstance[] {
    const found = this.options.table.find(target.service, target.port);
    if (found.length === 0 || (tried === null && this.options.loopback)) return this.hedging.preferred(found);
    return this.hedging.preferred(
      found.filter((instance) => !tried?.includes(instance) && (this.options.loopback || !instance.local)),
    );
  }

  /** Whether the service is offered, but only by this node, which may not dial itself. */
  isOnlyHere(target: DialTarget): boolean {
    return !this.options.loopback && this.options.table.find(target.service, target.port).length > 0;
  }

  absenceOf({ service, port }: DialTarget): Error {
    return this.options.absenceOf(service, port);
  }

  /** Opens a stream with an OPEN on it. Returns how many bytes of that wait in the stream's queue. @throws as Path.open */
  openCircuit(attempt: Attempt, path: Path, target: DialTarget, nodeId: NodeId, port: number): number {
    const { open } = this;
    open.dst = target.bytesOf(nodeId);
    open.dstPort = port;
    open.srcPort = attempt.localPort;
    open.service = target.service;
    const circuitId = this.circuitIds.next();
    const isSecure = attempt.wishes.secure === true;
    attempt.secure = isSecure ? this.secureDial(attempt, target, nodeId, port, circuitId) : null;
    open.proof = attempt.secure?.proof;
    const end = writeOpen(this.scratch, 0, open);
    const stream = path.open(attempt, this.scratch.subarray(0, end));
    attempt.stream = stream;
    const queued = stream.queuedBytes;
    if (queued > 0) this.scratch = Buffer.allocUnsafeSlow(MAX_OPEN_BYTES);
    return queued;
  }

  searchCircuit(attempt: Attempt, target: DialTarget, nodeId: NodeId, port: number, timeoutMs: number): Crankback {
    const { hops, nodeIdBytes, security, sharedEnv } = this.options;
    const { service } = target;
    const circuitId = Uint8Array.prototype.slice.call(this.circuitIds.next());
    const { nodeId: self, routes } = hops;
    const search = new HopSearch(
      { self, src: self, dst: nodeId, circuitHash: circuitHash(circuitId), passed: [], tried: [] },
      routes,
    );
    const open = {
      hopLimit: HOP_LIMIT,
      dst: nodeId,
      dstPort: port,
      src: nodeIdBytes,
      srcPort: attempt.localPort,
      circuitId,
      service,
      env: service === '' ? undefined : sharedEnv(nodeId),
      proof: undefined as Uint8Array | undefined,
    };
    const isSecure = attempt.wishes.secure ?? security.isDefault;
    attempt.secure = isSecure ? this.secureDial(attempt, target, nodeId, port, circuitId, open.env) : null;
    open.proof = attempt.secure?.proof;
    return new Crankback(hops, attempt, search, open, timeoutMs);
  }

  connectRelayed(attempt: Attempt, socket: Socket, stream: MuxStream, to: RelayedEndpoint): void {
    const { nodeId, via, service, port, tookMs } = to;
    const { remotes } = this.options;
    const { secure } = attempt;
    const carried = secure === null ? undefined : secure.carry(stream);
    const sink = carried ?? socket;
    socket[kAttachStream](carried ?? stream);
    const far = remotes.get(nodeId, via);
    try {
      socket[kEstablish](secure === null ? far : remotes.secure(far), service, attempt.localPort, port);
    } finally {
      // Unless it was destroyed at once.
      if (stream.sink === sink && this.shortcuts !== undefined) {
        const metered = this.traffic.opened(nodeId, sink, tookMs);
        stream.sink = metered;
        socket[kWhenOver](() => metered.close());
      }
    }
  }

  secureEnd(far: FarEnd): FarEnd {
    return this.options.remotes.secure(far);
  }

  get shortcuts(): Shortcuts | undefined {
    return this.options.shortcuts();
  }

  /** A port for the near end of a socket. It need not be free: nothing is ever sent to it alone. */
  takePort(): number {
    const port = this.nextPort;
    this.nextPort = port === 0xffff_ffff ? FIRST_FREE_PORT : port + 1;
    return port;
  }

  await(attempt: Attempt, service: string): void {
    let waiting = this.waiting.get(service);
    if (waiting === undefined) {
      waiting = new Set();
      this.waiting.set(service, waiting);
    }
    waiting.add(attempt);
  }

  forgetWait(attempt: Attempt, service: string): void {
    const waiting = this.waiting.get(service);
    if (waiting === undefined || !waiting.delete(attempt)) return;
    if (waiting.size === 0) this.waiting.delete(service);
  }

  onOver(attempt: Attempt, connected: boolean): void {
    this.attempts.delete(attempt);
    if (connected) this.counters.connected++;
    else this.counters.failed++;
  }

  private secureDial(
    attempt: Attempt,
    { service }: DialTarget,
    nodeId: NodeId,
    dstPort: number,
    circuitId: Uint8Array,
    env?: string,
  ): SecureDial {
    const { nodeId: src, security } = this.options;
    return security.dial({ src, srcPort: attempt.localPort, dst: nodeId, dstPort, circuitId, env, service });
  }
}

const NO_WISHES = Object.freeze({});
