// The circuits that come in over one link: reads OPEN, finds the server and replies in the same turn, or hands the circuit to the
// relay.
//
// One object for all streams of the link. Nearly always an OPEN arrives whole with the stream itself, and is answered at once; then
// nothing is allocated for it. For the others see pending-open.ts.

import type { Guard } from '../../access/guard.js';
import type { NodeId } from '../../address.js';
import { kAdmit, kAnnounce, kOnData, kOnEnd, kOnReset, kOnSent } from '../../mux/hidden.js';
import type { MuxStream, StreamSink } from '../../mux/stream/stream.js';
import type { AllowRequest } from '../../options/allow.js';
import type { RemoteEndpoint, SocketAddresses } from '../../socket/endpoints.js';
import type { Socket } from '../../socket/socket.js';
import { Deadline } from '../../util/deadline.js';
import { debug } from '../../util/runtime/debug.js';
import type { Timers } from '../../util/timers.js';
import { type Open, tryReadOpen } from '../../wire/open.js';
import { encodeReply, ReplyCode } from '../../wire/open-reply.js';
import { type Binding, type Bindings, QUERY_PORT, SERVER_FULL } from '../bindings.js';
import type { FormerMember, Membership } from '../membership.js';
import { QueuedPrefix } from '../open/pass-through.js';
import type { RelayNeighbour } from '../relay/admission.js';
import { DRAINS, type Relay } from '../relay/relay.js';
import type { RemoteEndpoints } from '../remote-endpoints.js';
import { PendingConfirmations, ProofQueue } from '../secure/confirmation.js';
import type { AcceptHandshake } from '../secure/handshake.js';
import type { CircuitSecurity } from '../secure/security.js';
import { type AcceptTrace, traceAccept } from '../trace/accept-trace.js';
import { type Authorization, PendingAuthorizations } from './authorization.js';
import { HeldOpens, IncomingCircuit, OpenRate, SlowOpen } from './pending-open.js';
import { PendingPreparations, type Preparation } from './preparation.js';

const log = debug('route');

/** The node, as its acceptors need it. */
export interface AcceptorHost {
  readonly nodeId: NodeId;
  readonly addresses: SocketAddresses;
  readonly bindings: Bindings;
  readonly timers: Timers;
  /** The time that a peer has from opening a stream to the last byte of OPEN, and from a secure reply to its first record, in ms. */
  readonly openTimeoutMs: number;
  readonly counters: AcceptCounters;
  /** Whether circuits of other nodes are refused. */
  readonly isDraining: boolean;
  readonly relay: Relay;
  readonly remotes: RemoteEndpoints;
  readonly authorization: Authorization;
  readonly security: CircuitSecurity;
  /** Undefined where there are no members. */
  readonly membership: Membership | undefined;
  /** How many circuits a second one link may open to services of this node. */
  readonly opensPerSecond: number;
  /** How many circuits of one link may wait for the check of their proof, and how many for their confirmation. */
  readonly maxUnconfirmed: number;
  /** The digest of an env that this node shares with another, if one is known. */
  sharedEnv(nodeId: NodeId): string | undefined;
  /** Returns the transport of the link to a neighbour, as OpenTelemetry names it. */
  transportTo(neighbour: NodeId): string | undefined;
  /** Whether this node is in the env with that digest. */
  knowsEnv(digest: string | undefined): boolean;
  /** Called with the socket of a circuit that comes in: it ends with the membership of its peer. */
  watch(remote: RemoteEndpoint, stream: MuxStream, socket: Socket): void;
}

/** Counts since the start. */
export interface AcceptCounters {
  accepted: number;
  /** Including those that were denied. */
  refused: number;
  /** Not allowed, by the node or by the server. */
  denied: number;
  /** Accepted ones whose keys follow from ML-KEM-768 as well. */
  quantumSafe: number;
}

export class Acceptor implements StreamSink {
  /** The newest stream, while nothing has come on it. */
  private fresh: MuxStream | null = null;
  private readonly deadline: Deadline;
  private readonly slow = new Set<SlowOpen>();
  private readonly rate: OpenRate;
  private readonly held: HeldOpens;
  private readonly proofs: ProofQueue;
  private readonly authorizations: PendingAuthorizations;
  private readonly confirmations: PendingConfirmations;
  private readonly preparations: PendingPreparations;

  /**
   * @param remote the remote endpoint, which all sockets of the link share
   * @param namesMeet whether the peer shares an env: if not, it may dial ports only
   * @param neighbour what counts for circuits that the peer passes on to others; null when the peer is this node itself, whose circuits are
   * not checked
   * @param envDigests of the envs that the peer is in
   */
  constructor(
    private readonly host: AcceptorHost,
    readonly remote: RemoteEndpoint,
    private readonly namesMeet: boolean,
    private readonly neighbour: RelayNeighbour | null,
    readonly envDigests: readonly string[] = [],
  ) {
    this.deadline = new Deadline(host.timers, () => this.onFreshLate());
    this.rate = new OpenRate(host.opensPerSecond, host.timers.now());
    this.held = new HeldOpens(this.rate, host.timers, (circuit) => {
      const { stream, open, remote, namesMeet, received } = circuit;
      this.serve(stream, open, received, remote, namesMeet, circuit, circuit.trace);
    });
    this.proofs = new ProofQueue(host.timers.clock, (circuit) => {
      if (this.isStillBound(circuit)) this.checkProof(circuit);
    });
    this.authorizations = new PendingAuthorizations(host.authorization);
    this.confirmations = new PendingConfirmations(host);
    this.preparations = new PendingPreparations(host.timers);
  }

  get timers(): Timers {
    return this.host.timers;
  }

  /** Called when the peer has opened a stream. */
  onStream(stream: MuxStream): void {
    stream.sink = this;
    // OPEN comes with the stream unless the chunk was cut there (then the stream is the newest one), or the peer is a slow one.
    if (this.fresh !== null) this.watch(this.fresh);
    this.fresh = stream;
    // One deadline for all that are fresh once; it stays when they are not any more.
    if (!this.deadline.isSet) this.deadline.set(this.host.openTimeoutMs);
  }

  [kOnData](stream: MuxStream, chunk: Buffer): void {
    if (this.fresh === stream) this.fresh = null;
    if (!this.tryOpen(stream, chunk)) this.watch(stream)[kOnData](stream, chunk);
  }

  [kOnEnd](stream: MuxStream): void {
    this.drop(stream);
  }

  [kOnSent](): void {}

  [kOnReset](stream: MuxStream): void {
    if (this.fresh === stream) this.fresh = null;
  }

  private onFreshLate(): void {
    if (this.fresh !== null) this.watch(this.fresh);
    this.fresh = null;
  }

  /** Called when the link is gone. */
  dispose(): void {
    this.deadline.clear();
    this.fresh = null;
    for (const slow of this.slow) slow.dispose();
    this.held.dispose();
  }

  /** Called when a node is no member any more: ends its circuits that wait here. Those that have a socket are not among them. */
  onFormerMember({ nodeId, error, reason }: FormerMember): void {
    const { held, proofs, authorizations, preparations } = this;
    for (const queue of [held, proofs, authorizations, preparations]) {
      for (const { open, stream } of queue.circuits()) if (open.src === nodeId) stream.destroy(error, reason);
    }
  }

  // --- OPEN ---

  /** Reads OPEN and answers it. Returns false when it has not arrived as a whole. */
  tryOpen(stream: MuxStream, bytes: Buffer): boolean {
    let read: { open: Open; bytesRead: number } | undefined;
    try {
      read = tryReadOpen(bytes);
    } catch (error) {
      stream.consumed(bytes.length);
      this.refuse(stream, ReplyCode.MALFORMED, (error as Error).message);
      return true;
    }
    if (read === undefined) return false;
    const { open, bytesRead } = read;
    const rest = bytes.subarray(bytesRead);
    if (open.dst !== this.host.nodeId || open.src !== this.remote.peerId) {
      // The other end counts in the same way.
      stream.useRelayWindow();
      stream.consumed(bytesRead);
      this.takeRelayed(stream, open, rest);
      return true;
    }
    stream.consumed(bytesRead);
    this.answer(stream, open, rest, this.remote, this.namesMeet);
    return true;
  }

  /** Resets a stream on which OPEN does not come. */
  drop(stream: MuxStream): void {
    if (this.fresh === stream) this.fresh = null;
    this.host.counters.refused++;
    stream.reset();
  }

  onSlowOpenEnd(slow: SlowOpen): void {
    this.slow.delete(slow);
  }

  private watch(stream: MuxStream): SlowOpen {
    const slow = new SlowOpen(this, stream, this.host.openTimeoutMs);
    this.slow.add(slow);
    return slow;
  }

  /** Takes a circuit that came through relays, for this node or for another. */
  private takeRelayed(stream: MuxStream, open: Open, rest: Buffer): void {
    const { nodeId, relay, remotes, membership } = this.host;
    const { dst, src, visited, relays, env } = open;
    const sender = relays === 0 ? src : visited[visited.length - 1];
    if (this.neighbour === null || sender !== this.remote.peerId) {
      this.refuse(stream, ReplyCode.DENIED, 'it does not come from the peer');
    } else if (relays > 0 && membership?.mayRelay(sender) === false) {
      // Not an error of its own for the dialler: the right may be new, and another way may be open.
      this.refuse(stream, ReplyCode.NO_ROUTE, `${sender} may not relay`);
    } else if (dst !== nodeId) relay.onOpen(this.neighbour, stream, open, rest, this);
    else if (src === nodeId || visited.includes(nodeId))
      this.refuse(stream, ReplyCode.LOOP, 'the circuit has been here');
    else {
      const via = visited.slice(visited.length - relays).reverse();
      this.answer(stream, open, rest, remotes.get(src, via), this.host.knowsEnv(env));
    }
  }

  // --- circuits to this node ---

  private answer(stream: MuxStream, open: Open, rest: Buffer, remote: RemoteEndpoint, namesMeet: boolean): void {
    const { neighbour, rate, held, host } = this;
    const trace = traceAccept(host, open, remote);
    // Those that wait come first.
    if (neighbour === null || (held.size === 0 && rate.take(host.timers))) {
      this.serve(stream, open, rest, remote, namesMeet, undefined, trace);
    } else if (held.isFull) {
      const what = `more than ${rate.perSecond} opens a second (opensPerSecond), and ${held.size} wait`;
      this.refuse(stream, ReplyCode.LIMIT, what, trace);
    } else {
      const circuit = new IncomingCircuit(stream, open, remote, namesMeet, rest);
      circuit.trace = trace;
      held.hold(circuit);
    }
  }

  /** @param waiting the circuit, if it has waited */
  private serve(
    stream: MuxStream,
    open: Open,
    rest: Buffer,
    remote: RemoteEndpoint,
    namesMeet: boolean,
    waiting: IncomingCircuit | undefined,
    trace: AcceptTrace | null,
  ): void {
    const { neighbour, host } = this;
    const { service, dstPort } = open;
    // This node itself may still dial its services: what it has begun for others may need them. Queries are answered to the end.
    if (host.isDraining && neighbour !== null && (service !== '' || dstPort !== QUERY_PORT)) {
      this.refuse(stream, ReplyCode.REFUSED, DRAINS, trace);
      return;
    }
    if (open.proof === undefined && remote.via.length > 0 && host.security.requiresProof) {
      this.refuse(stream, ReplyCode.INSECURE, 'a circuit through relays has to be signed by its source', trace);
      return;
    }
    const fault = neighbour === null ? undefined : host.membership?.faultOf(remote.peerId);
    if (fault !== undefined) {
      host.counters.denied++;
      this.refuse(stream, ReplyCode.DENIED, fault.message, trace);
      return;
    }
    const binding = service === '' || namesMeet ? host.bindings.find(service, dstPort) : undefined;
    if (binding === undefined) {
      this.refuse(stream, ReplyCode.REFUSED, '', trace);
      return;
    }
    const guards = neighbour === null ? undefined : binding.guards;
    const isChecked = open.proof === undefined && guards === undefined;
    if (waiting === undefined && isChecked && binding.prepare === undefined) {
      this.accept(stream, binding, open, this.remoteFor(binding, open, remote), rest, trace, undefined);
      return;
    }
    const circuit = waiting ?? new IncomingCircuit(stream, open, remote, namesMeet, rest);
    circuit.binding = binding;
    circuit.trace = trace;
    if (open.proof !== undefined) this.queueProof(circuit);
    else this.authorize(circuit, guards);
  }

  private queueProof(circuit: IncomingCircuit): void {
    const { proofs, host } = this;
    if (proofs.take()) this.checkProof(circuit);
    else if (proofs.size < host.maxUnconfirmed) proofs.wait(circuit);
    else {
      const reason = `${proofs.size} circuits wait to be checked (acceptBacklog)`;
      this.refuse(circuit.stream, ReplyCode.LIMIT, reason, circuit.trace);
    }
  }

  /** Checks what OPEN claims, and that it has not come before, ahead of asking any guard about it. */
  private checkProof(circuit: IncomingCircuit): void {
    const { security, remotes } = this.host;
    const { stream, binding, open, remote, trace } = circuit;
    let handshake: AcceptHandshake;
    try {
      handshake = security.verifyOpen(open);
    } catch (error) {
      security.refused(open.src, remote.via, error as Error);
      this.refuse(stream, ReplyCode.INSECURE, (error as Error).message, trace);
      return;
    }
    const rejection = security.admit(handshake);
    if (rejection !== undefined) {
      const { code, reason } = rejection;
      if (code === ReplyCode.CLOCK) security.refusedForClock(open.src, remote.via, reason);
      this.refuse(stream, code, reason, trace);
      return;
    }
    if (handshake.isEncrypted) {
      circuit.handshake = handshake;
      circuit.remote = remotes.secure(remote, handshake.isQuantumSafe);
    } else circuit.remote = remotes.signed(remote);
    this.authorize(circuit, this.neighbour === null ? undefined : binding?.guards);
  }

  /** Asks whether the circuit is allowed. The server does not see it before. */
  private authorize(circuit: IncomingCircuit, guards: readonly Guard[] | undefined): void {
    if (guards === undefined) {
      this.prepare(circuit);
      return;
    }
    const { authorizations, host } = this;
    const { stream, trace } = circuit;
    if (authorizations.isFull) {
      const reason = `${authorizations.size} circuits wait to be allowed (maxPendingDecisions)`;
      this.refuse(stream, ReplyCode.LIMIT, reason, trace);
      return;
    }
    authorizations.ask(circuit, guards, this.requestOf(circuit), (verdict) => {
      if (verdict !== true) {
        host.counters.denied++;
        this.refuse(stream, ReplyCode.DENIED, verdict, trace);
      } else if (this.isStillBound(circuit)) this.prepare(circuit);
    });
  }

  private requestOf({ open, remote, binding }: IncomingCircuit): AllowRequest {
    const { service } = binding as Binding;
    // What is bound, whatever was dialled: a port leads to names as well.
    const to = { service, port: portOf(open, binding as Binding) };
    return this.host.authorization.request(remote, this.envsOf(remote, open.env), to);
  }

  /** Waits until the server has prepared for an allowed circuit, if it has to. */
  private prepare(circuit: IncomingCircuit): void {
    const { preparations, host } = this;
    const { stream, open, trace } = circuit;
    const { prepare } = circuit.binding as Binding;
    if (prepare === undefined) {
      this.acceptChecked(circuit);
      return;
    }
    if (preparations.size >= host.authorization.maxPending) {
      this.refuse(
        stream,
        ReplyCode.LIMIT,
        `${preparations.size} circuits wait for the server (maxPendingDecisions)`,
        trace,
      );
      return;
    }
    const timeoutMs = Math.min(host.authorization.timeoutMs, open.remainingMs ?? host.authorization.timeoutMs);
    preparations.start(circuit, prepare, this.requestOf(circuit), timeoutMs, (refusal) => {
      if (refusal !== undefined) this.refuse(stream, ReplyCode.REFUSED, refusal, trace);
      else if (this.isStillBound(circuit)) this.acceptChecked(circuit);
      else circuit.preparation?.abandon();
    });
  }

  /** Returns false when the server was closed while the circuit waited, which is refused then. */
  private isStillBound({ stream, binding, open, trace }: IncomingCircuit): boolean {
    if (this.host.bindings.find(open.service, open.dstPort) === binding) return true;
    this.refuse(stream, ReplyCode.REFUSED, '', trace);
    return false;
  }

  /** Returns the digests of the envs that the other end says it is in. */
  private envsOf(remote: RemoteEndpoint, said: string | undefined): readonly string[] {
    if (remote.via.length === 0) return this.envDigests;
    const known = said ?? this.host.sharedEnv(remote.peerId);
    return known === undefined ? [] : [known];
  }

  /** Returns the remote endpoint, for a server of the library with the envs of the other end. */
  private remoteFor(binding: Binding, open: Open, remote: RemoteEndpoint): RemoteEndpoint {
    if (!binding.isReserved) return remote;
    return Object.freeze({ ...remote, envDigests: this.envsOf(remote, open.env) });
  }

  /** Accepts a circuit that has passed all checks. */
  private acceptChecked(circuit: IncomingCircuit): void {
    const { stream, open, handshake, received, trace } = circuit;
    const binding = circuit.binding as Binding;
    const remote = this.remoteFor(binding, open, circuit.remote);
    try {
      if (handshake === undefined) {
        this.accept(stream, binding, open, remote, received, trace, circuit.preparation);
        return;
      }
      const { preparation } = circuit;
      const to = { service: open.service, port: portOf(open, binding), srcPort: open.srcPort };
      const rejection = this.confirmations.accept(stream, binding.server, handshake, remote, to, trace, preparation);
      if (rejection !== undefined) {
        preparation?.abandon();
        this.refuse(stream, rejection.code, rejection.reason, trace);
      } else if (received.length > 0) stream.sink[kOnData](stream, received);
    } finally {
      // Also when a listener of the server has thrown: the circuit is open.
      if (circuit.isEnded) stream.sink[kOnEnd](stream);
    }
  }

  private accept(
    stream: MuxStream,
    binding: Binding,
    open: Open,
    remote: RemoteEndpoint,
    rest: Buffer,
    trace: AcceptTrace | null,
    preparation: Preparation | undefined,
  ): void {
    const port = portOf(open, binding);
    stream.accept();
    const socket = binding.server[kAdmit](stream, remote, open.service, port, open.srcPort);
    if (socket === null) {
      preparation?.abandon();
      this.refuse(stream, ReplyCode.LIMIT, SERVER_FULL, trace);
      return;
    }
    this.host.counters.accepted++;
    this.host.watch(remote, stream, socket);
    const reply = binding.acceptance(port);
    if (!stream.write(reply)) stream.sink = new QueuedPrefix(socket, reply.length);
    try {
      const prepared = preparation?.value;
      if (trace === null) binding.server[kAnnounce](socket, prepared);
      else binding.server[kAnnounce](socket, prepared, (emit) => trace.accept(emit, remote));
    } finally {
      // After the listeners are there, so that it reaches them without a detour over the socket's buffer.
      if (rest.length > 0) stream.sink[kOnData](stream, rest);
    }
  }

  private refuse(stream: MuxStream, code: number, reason: string, trace: AcceptTrace | null = null): void {
    log('refused a circuit of %s: %d %s', this.remote.peerId, code, reason);
    this.host.counters.refused++;
    stream.accept();
    stream.write(encodeReply({ code, port: 0, at: this.host.nodeId, reason }));
    // On a busy link it may have to wait, and has to arrive all the same.
    stream.close(true);
    trace?.refuse(code, reason);
  }
}

/** Returns the port that is dialled: when it was left open, that of the service. */
function portOf(open: Open, binding: Binding): number {
  return open.dstPort === 0 ? binding.port : open.dstPort;
}
