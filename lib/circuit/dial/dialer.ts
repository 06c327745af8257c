// Opens circuits for sockets. Has what all dials share: the list of those under way, circuit ids, ports, and the memory in which OPEN
// is written.

import type { NodeId } from '../../address.js';
import { netError, starlaneError } from '../../errors.js';
import { byWeight, type Selector } from '../../mesh/directory/selector.js';
import type { ServiceInstance } from '../../mesh/directory/service.js';
import type { ServiceTable } from '../../mesh/directory/service-table.js';
import type { MuxStream } from '../../mux/stream/stream.js';
import type { RemoteEndpoint } from '../../socket/endpoints.js';
import type { Socket } from '../../socket/socket.js';
import type { Timers } from '../../util/timers.js';
import { MAX_OPEN_BYTES, writeOpen } from '../../wire/open.js';
import { FIRST_FREE_PORT } from '../bindings.js';
import { type DirectLinks, RelayedTraffic } from '../direct-links.js';
import type { FormerMember, Membership } from '../membership.js';
import { HopSearch } from '../open/hop-search.js';
import { CircuitOpener, type OpenerHost, type OpenerOwner, type SignedPart } from '../open/opener.js';
import type { DirectPath, Hop, Paths, Routes } from '../paths.js';
import type { RemoteEndpoints } from '../remote-endpoints.js';
import type { Policies, ResilienceCounters } from '../resilience/policy.js';
import type { WatchedDial } from '../resilience/watched-dial.js';
import type { DialHandshake } from '../secure/handshake.js';
import type { CircuitSecurity } from '../secure/security.js';
import type { CircuitTerms } from '../secure/transcript.js';
import { Attempt, type DialRequest } from './attempt.js';
import { type Alternative, CircuitIds, circuitHash, type DialTarget } from './dial-target.js';
import { DirectOpen } from './direct-open.js';
import { Hedging } from './hedging.js';

/** How many links a circuit may cross. More than the diameter of a mesh of ten thousand nodes. */
const HOP_LIMIT = 16;

/** How many services that are absent are explained in one error. */
const MAX_EXPLAINED = 4;

const NO_REQUEST: DialRequest = Object.freeze({});

interface DialerOptions {
  readonly nodeId: NodeId;
  readonly nodeIdBytes: Uint8Array;
  readonly table: ServiceTable;
  /** Why no instance of a service is found. */
  readonly absenceOf: (service: string, port: number | undefined) => Error;
  readonly paths: Paths;
  readonly routes: Routes;
  /** Read each time. */
  readonly limits: { readonly hopTimeoutMs: number };
  readonly remotes: RemoteEndpoints;
  readonly security: CircuitSecurity;
  /** Undefined where there are no members. */
  readonly membership?: Membership | undefined;
  /** Called with the socket of a circuit that is open through relays: it ends with the membership of its peer. */
  readonly watch: (remote: RemoteEndpoint, stream: MuxStream, socket: Socket) => void;
  readonly directLinks: DirectLinks;
  /** The digest of an env that this node shares with another, if one is known. */
  readonly sharedEnv: (nodeId: NodeId) => string | undefined;
  readonly timers: Timers;
  /** Whether instances at this node count. */
  readonly loopback: boolean;
  readonly policies: Policies;
}

/** Counts since the start. */
export interface DialCounters {
  dialled: number;
  connected: number;
  failed: number;
  /** Connected ones whose keys follow from ML-KEM-768 as well. */
  quantumSafe: number;
}

export class Dialer implements OpenerHost {
  readonly counters: DialCounters = { dialled: 0, connected: 0, failed: 0, quantumSafe: 0 };
  readonly nodeId: NodeId;
  readonly paths: Paths;
  readonly routes: Routes;
  readonly remotes: RemoteEndpoints;
  readonly directLinks: DirectLinks;
  readonly timers: Timers;
  readonly hedging: Hedging;
  readonly traffic: RelayedTraffic;
  readonly resilience: ResilienceCounters;
  private readonly attempts = new Set<Attempt>();
  /** Dials that wait for a service to appear. */
  private readonly waiting = new Map<string, Set<Attempt>>();
  private readonly circuitIds: CircuitIds;
  private nextPort = FIRST_FREE_PORT;
  /** OPEN is written here and copied into the session's output at once; replaced when a stream's queue keeps it. */
  private scratch = Buffer.allocUnsafeSlow(MAX_OPEN_BYTES);
  /** The OPEN of the direct link that is opened next. */
  private readonly directOpen: {
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
    const { nodeIdBytes, paths } = options;
    this.nodeId = options.nodeId;
    this.paths = paths;
    this.routes = options.routes;
    this.remotes = options.remotes;
    this.directLinks = options.directLinks;
    this.timers = options.timers;
    this.hedging = new Hedging((nodeId) => paths.link(nodeId));
    this.traffic = new RelayedTraffic(options.directLinks);
    this.resilience = options.policies.counters;
    this.circuitIds = new CircuitIds();
    this.directOpen = {
      hopLimit: HOP_LIMIT,
      dst: nodeIdBytes,
      dstPort: 0,
      src: nodeIdBytes,
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
    request: DialRequest = NO_REQUEST,
  ): void {
    this.counters.dialled++;
    this.hedging.onDial();
    const watched = request.policy === undefined ? null : request.policy.begin(target);
    const attempt = new Attempt(this, socket, target, selector, request, request.localPort ?? this.takePort(), watched);
    this.attempts.add(attempt);
    if (socket.destroyed) attempt.cancel();
    else if (this.isClosed) attempt.cancel(netError('ECANCELED', 'connect', attempt.where));
    else attempt.start(timeoutMs);
  }

  /** Called when an instance of a service has appeared. */
  onService(instance: ServiceInstance): void {
    this.options.policies.onService(instance);
    const waiting = this.waiting.get(instance.service);
    if (waiting === undefined) return;
    for (const attempt of [...waiting]) if (attempt.target.fits(instance)) attempt.onService();
  }

  /** Called when a node is no member any more. */
  onFormerMember(former: FormerMember): void {
    for (const attempt of [...this.attempts]) attempt.onFormerMember(former);
  }

  /** Fails every dial that is under way, and those to come. */
  close(): void {
    this.isClosed = true;
    for (const attempt of [...this.attempts]) attempt.cancel(netError('ECANCELED', 'connect', attempt.where));
  }

  // --- for attempts ---

  get membership(): Membership | undefined {
    return this.options.membership;
  }

  watch(remote: RemoteEndpoint, stream: MuxStream, socket: Socket): void {
    this.options.watch(remote, stream, socket);
  }

  /**
   * Returns the service that is dialled next: the target itself, or one of several that has an instance left to try; undefined when none
   * has.
   */
  choose(
    target: DialTarget,
    tried: readonly ServiceInstance[] | null,
    watched: WatchedDial | null,
    keyHash: number | undefined,
  ): DialTarget | undefined {
    const { groups } = target;
    if (groups === undefined) return watched === null || watched.waitMs(target) === 0 ? target : undefined;
    return this.chooseOf(groups, tried, watched, keyHash);
  }

  private chooseOf(
    groups: ReadonlyArray<readonly Alternative[]>,
    tried: readonly ServiceInstance[] | null,
    watched: WatchedDial | null,
    keyHash: number | undefined,
  ): DialTarget | undefined {
    const mayGo = (one: DialTarget): boolean => watched === null || watched.waitMs(one) === 0;
    // Instances that are left out come after those of all other services.
    for (const only of watched === null ? [null] : [watched, null]) {
      for (const group of groups) {
        const left = group.filter((one) => mayGo(one.target) && this.left(one.target, tried, only).length > 0);
        if (left.length > 0) return byWeight(left, keyHash, (one) => one.target.key).target;
      }
    }
    return undefined;
  }

  /** Returns the services of a target that have instances left to try. */
  offered(target: DialTarget, tried: readonly ServiceInstance[] | null): readonly DialTarget[] {
    // A node that is dialled by its id, and a breaker that says more than that there is nobody.
    if (target.groups === undefined) return [target];
    return target.alternatives.filter((one) => this.left(one, tried, null).length > 0);
  }

  /** Returns the instances of a service that may be tried; those that are left out only when no other is left. Do not keep the list. */
  candidates(
    target: DialTarget,
    tried: readonly ServiceInstance[] | null,
    watched: WatchedDial | null,
  ): readonly ServiceInstance[] {
    const best = this.left(target, tried, watched);
    return best.length > 0 || watched === null ? best : this.left(target, tried, null);
  }

  /** @param watched leaves instances out; null: none */
  private left(
    target: DialTarget,
    tried: readonly ServiceInstance[] | null,
    watched: WatchedDial | null,
  ): readonly ServiceInstance[] {
    const { table, loopback } = this.options;
    const all = table.lookUp(target.service, target.port);
    const found = watched === null ? all : watched.healthy(target, all);
    if (found.length === 0 || (tried === null && loopback)) return this.hedging.preferred(found);
    return this.hedging.preferred(
      found.filter((instance) => !tried?.includes(instance) && (loopback || !instance.local)),
    );
  }

  /** Whether the service is offered, but only by this node, which may not dial itself. */
  isOnlyHere(target: DialTarget): boolean {
    const { loopback, table } = this.options;
    return !loopback && target.alternatives.some(({ service, port }) => table.lookUp(service, port).length > 0);
  }

  absenceOf({ service, port, groups }: DialTarget): Error {
    if (groups === undefined) return this.options.absenceOf(service, port);
    const each = groups.flat().map(({ target }) => `${target.name}: ${this.absenceOf(target).message}`);
    return starlaneError('ERR_STARLANE_NOT_FOUND', each.slice(0, MAX_EXPLAINED).join('; '));
  }

  /** Opens a circuit over a direct link: OPEN is sent when this returns. @throws as DirectPath.open */
  open(attempt: Attempt, path: DirectPath, instance: ServiceInstance | null, nodeId: NodeId, port: number): DirectOpen {
    const { target, localPort, service } = attempt;
    const open = this.directOpen;
    open.dst = target.bytesOf(nodeId);
    open.dstPort = port;
    open.srcPort = localPort;
    open.service = service;
    const circuitId = this.circuitIds.next();
    const secure =
      attempt.request.secure === true
        ? this.options.security.dial(this.termsOf(attempt, nodeId, port, circuitId, undefined))
        : null;
    open.proof = secure?.proof;
    const end = writeOpen(this.scratch, 0, open);
    const direct = new DirectOpen(attempt, path, attempt.current, instance, nodeId, port, secure);
    const queued = direct.start(this.scratch.subarray(0, end));
    if (queued > 0) this.scratch = Buffer.allocUnsafeSlow(MAX_OPEN_BYTES);
    return direct;
  }

  /** Returns an opener of a circuit through relays, which is not started. */
  openerOf(attempt: Attempt, owner: OpenerOwner, nodeId: NodeId, port: number, timeoutMs: number): CircuitOpener {
    const { nodeIdBytes, security, sharedEnv } = this.options;
    const { localPort, service, request } = attempt;
    const env = service === '' ? undefined : sharedEnv(nodeId);
    const isSecure = request.secure ?? security.isDefault;
    const sign = (): SignedPart => {
      const circuitId = Uint8Array.prototype.slice.call(this.circuitIds.next());
      // Not of the attempt: it may have gone on to another instance by then.
      const terms = this.termsOf({ service, localPort }, nodeId, port, circuitId, env);
      if (!isSecure) return { circuitId, proof: security.sign(terms), secure: null };
      const secure = security.dial(terms);
      return { circuitId, proof: secure.proof, secure };
    };
    const { circuitId, proof, secure } = sign();
    const { nodeId: self, routes } = this;
    const search = new HopSearch(
      { self, src: self, dst: nodeId, circuitHash: circuitHash(circuitId), passed: [], tried: [] },
      routes,
    );
    const open = {
      hopLimit: HOP_LIMIT,
      dst: nodeId,
      dstPort: port,
      src: nodeIdBytes,
      srcPort: localPort,
      circuitId,
      service,
      env,
      proof,
    };
    return new CircuitOpener(this, owner, search, open, timeoutMs, secure, proof === undefined ? undefined : sign);
  }

  get hopTimeoutMs(): number {
    return this.options.limits.hopTimeoutMs;
  }

  hop(neighbour: NodeId): Hop | undefined {
    return this.paths.link(neighbour);
  }

  /** Calls {@link Attempt.onService} when an instance of what it dials may have appeared. */
  waitFor(attempt: Attempt): void {
    for (const name of attempt.target.names) {
      let waiting = this.waiting.get(name);
      if (waiting === undefined) {
        waiting = new Set();
        this.waiting.set(name, waiting);
      }
      waiting.add(attempt);
    }
  }

  stopWaiting(attempt: Attempt): void {
    for (const name of attempt.target.names) {
      const waiting = this.waiting.get(name);
      if (waiting?.delete(attempt) && waiting.size === 0) this.waiting.delete(name);
    }
  }

  /** Counts a circuit that is open. `secure`: null when it is not encrypted. */
  countKeys(secure: DialHandshake | null): void {
    if (secure?.isQuantumSafe) this.counters.quantumSafe++;
  }

  onEnd(attempt: Attempt, connected: boolean): void {
    this.attempts.delete(attempt);
    if (connected) this.counters.connected++;
    else this.counters.failed++;
  }

  /** Returns a port for the near end of a socket. It need not be free: nothing is ever sent to it alone. */
  private takePort(): number {
    const port = this.nextPort;
    this.nextPort = port === 0xffff_ffff ? FIRST_FREE_PORT : port + 1;
    return port;
  }

  private termsOf(
    { service, localPort }: Pick<Attempt, 'service' | 'localPort'>,
    dst: NodeId,
    dstPort: number,
    circuitId: Uint8Array,
    env: string | undefined,
  ): CircuitTerms {
    return { src: this.nodeId, srcPort: localPort, dst, dstPort, circuitId, env, service };
  }
}
