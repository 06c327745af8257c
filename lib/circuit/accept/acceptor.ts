// The circuits that come in over one link: reads OPEN, finds the server and replies in the same turn, or hands it to the
// relay.
//
// One object for all streams of the link. Nearly always an OPEN arrives whole with the stream itself, and nothing is
// kept for it; one that trickles in gets a small object with a deadline.

import type { Guard } from '../../access/guard.js';
import type { NodeId } from '../../address.js';
import { kAdmit, kAnnounce, kOnData, kOnEnd, kOnReset, kOnSent } from '../../mux/hidden.js';
import type { MuxStream, StreamSink } from '../../mux/stream/stream.js';
import type { FarEnd } from '../../socket/far-end.js';
import type { SocketAddresses } from '../../socket/socket-addresses.js';
import { debug } from '../../util/runtime/debug.js';
import type { Timed, Timer, Timers } from '../../util/timers.js';
import { type Open, tryReadOpen } from '../../wire/open.js';
import { encodeReply, ReplyCode } from '../../wire/open-reply.js';
import type { Binding, Bindings } from '../bindings.js';
import { QueuedPrefix } from '../open/queued-prefix.js';
import type { RelayNeighbour } from '../relay/admission.js';
import type { Relay } from '../relay/relay.js';
import type { FarEnds } from '../remote-endpoints.js';
import { ClaimQueue } from '../secure/claim-queue.js';
import type { DialClaim } from '../secure/dial-claim.js';
import { Unconfirmed, type UnconfirmedHost } from '../secure/unconfirmed.js';
import type { CircuitAccess } from './circuit-access.js';
import { Decisions } from './decisions.js';
import { HeldOpens } from './held-opens.js';
import { OpenRate } from './open-rate.js';
import { SlowOpen, type SlowOpens } from './slow-open.js';

const log = debug('route');

/** What acceptors need of their node. */
export interface AcceptorHost extends UnconfirmedHost {
  readonly nodeId: NodeId;
  readonly addresses: SocketAddresses;
  readonly bindings: Bindings;
  readonly timers: Timers;
  /** Time that a peer has from opening a stream to the last byte of OPEN, and from a secure reply to its first record. */
  readonly openTimeoutMs: number;
  readonly counters: AcceptCounters;
  readonly relay: Relay;
  readonly farEnds: FarEnds;
  readonly access: CircuitAccess;
  /** How many circuits a second one link may open to services of this node. */
  readonly opensPerSecond: number;
  /** The digest of an env that this node shares with another, if it knows one. */
  sharedEnv(nodeId: NodeId): string | undefined;
  /** Whether names of this node and of who knows that env meet. */
  knowsEnv(digest: string | undefined): boolean;
}

/** Counts since the start. */
export interface AcceptCounters {
  accepted: number;
  /** Those that were denied included. */
  refused: number;
  /** Not allowed, by the node or by the server. */
  denied: number;
}

/** A circuit whose end is this node. Only made for those that are not answered at once. */
interface Call {
  readonly stream: MuxStream;
  readonly binding: Binding;
  readonly open: Open;
  readonly far: FarEnd;
  /** What has been checked of the dialler's proof. */
  readonly claim: DialClaim | undefined;
}

export class Acceptor implements StreamSink, Timed, SlowOpens {
  /** The newest stream, as long as nothing has come on it. */
  private fresh: MuxStream | null = null;
  private timer: Timer | null = null;
  private readonly slow = new Set<SlowOpen>();
  private readonly rate: OpenRate;
  private readonly held: HeldOpens;
  private readonly unconfirmed: Unconfirmed;
  private readonly claims: ClaimQueue;
  private readonly decisions: Decisions;

  /**
   * @param far who is at the other end; shared by all sockets of the link
   * @param namesMeet whether the peer shares an env: if not, it may dial ports only
   * @param neighbour what counts for circuits that the peer passes on to others; null when it is this node itself, whose
   * circuits are asked nothing
   * @param envDigests of the envs that the peer is in
   */
  constructor(
    private readonly host: AcceptorHost,
    readonly far: FarEnd,
    private readonly namesMeet: boolean,
    private readonly neighbour: RelayNeighbour | null,
    private readonly envDigests: readonly string[] = [],
  ) {
    this.rate = new OpenRate(host.opensPerSecond, host.timers.now());
    this.held = new HeldOpens(this.rate, host.timers);
    this.unconfirmed = new Unconfirmed(host);
    this.claims = new ClaimQueue(host.timers.clock);
    this.decisions = new Decisions(host.access);
  }

  /** The peer opened a stream. */
  onStream(stream: MuxStream): void {
    stream.sink = this;
    // OPEN comes with the stream unless the chunk was cut there: then it is the newest, or a stranger's.
    if (this.fresh !== null) this.watch(this.fresh);
    this.fresh = stream;
    // One timer for all that are fresh once; it is left to run when they are not any more.
    this.timer ??= this.host.timers.schedule(this.host.openTimeoutMs, this);
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

  onDeadline(): void {
    this.timer = null;
    if (this.fresh !== null) this.watch(this.fresh);
    this.fresh = null;
  }

  /** The link is gone. */
  stop(): void {
    if (this.timer !== null) this.host.timers.cancel(this.timer);
    this.timer = null;
    this.fresh = null;
    for (const slow of this.slow) slow.stop();
    this.held.stop();
  }

  /** Reads OPEN and answers it; false when not all of it is there. */
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
    if (open.dst !== this.host.nodeId || open.src !== this.far.peerId) {
      // The other end counts so as well.
      stream.useRelayWindow();
      stream.consumed(bytesRead);
      this.takeRelayed(stream, open, rest);
      return true;
    }
    stream.consumed(bytesRead);
    this.answer(stream, open, rest, this.far, this.namesMeet);
    return true;
  }

  /** A stream that was not opened as it should be. */
  drop(stream: MuxStream): void {
    if (this.fresh === stream) this.fresh = null;
    this.host.counters.refused++;
    stream.reset();
  }

  forget(slow: SlowOpen): void {
    this.slow.delete(slow);
  }

  get timers(): Timers {
    return this.host.timers;
  }

  /** A circuit through relays: for this node, which is its end, or for another. */
  private takeRelayed(stream: MuxStream, open: Open, rest: Buffer): void {
    const { nodeId, relay, farEnds } = this.host;
    const { dst, src, visited, relays, env } = open;
    const sender = relays === 0 ? src : visited[visited.length - 1];
    if (this.neighbour === null || sender !== this.far.peerId) {
      this.refuse(stream, ReplyCode.DENIED, 'it does not come from the peer');
    } else if (dst !== nodeId) relay.onOpen(this.neighbour, stream, open, rest);
    else if (src === nodeId || visited.includes(nodeId))
      this.refuse(stream, ReplyCode.LOOP, 'the circuit has been here');
    else {
      const via = visited.slice(visited.length - relays).reverse();
      this.answer(stream, open, rest, farEnds.get(src, via), this.host.knowsEnv(env));
    }
  }

  private answer(stream: MuxStream, open: Open, rest: Buffer, far: FarEnd, namesMeet: boolean): void {
    const { neighbour, rate, held, host } = this;
    // Those that wait come first.
    if (neighbour === null || (held.size === 0 && rate.take(host.timers))) {
      this.serve(stream, open, rest, far, namesMeet);
    } else if (held.isFull) {
      const what = `more than ${rate.perSecond} opens a second (opensPerSecond), and ${held.size} wait`;
      this.refuse(stream, ReplyCode.LIMIT, what);
    } else held.hold(stream, open, rest, (kept, bytes) => this.serve(stream, kept, bytes, far, namesMeet));
  }

  private serve(stream: MuxStream, open: Open, rest: Buffer, far: FarEnd, namesMeet: boolean): void {
    const { neighbour, host } = this;
    const { service, dstPort } = open;
    const binding = service === '' || namesMeet ? host.bindings.find(service, dstPort) : undefined;
    if (binding === undefined) this.refuse(stream, ReplyCode.REFUSED, '');
    else if (open.proof !== undefined) this.answerSecure({ stream, binding, open, far, claim: undefined }, rest);
    else if (binding.guards === undefined || neighbour === null) this.accept(stream, binding, open, far, rest);
    else this.ask(binding.guards, { stream, binding, open, far, claim: undefined }, rest);
  }

  private answerSecure(call: Call, rest: Buffer): void {
    const { claims, host } = this;
    if (claims.take()) {
      this.checkClaim(call, rest);
      return;
    }
    const { stream, open } = call;
    if (claims.size >= host.maxUnconfirmed) {
      this.refuse(stream, ReplyCode.LIMIT, `${claims.size} circuits wait to be checked (acceptBacklog)`);
      return;
    }
    // The bytes of an OPEN are used again.
    const [circuitId, proof] = [Buffer.from(open.circuitId), Buffer.from(open.proof as Uint8Array)];
    const kept = { ...call, open: { ...open, circuitId, proof } };
    stream.accept();
    stream.sink = claims.wait(rest, (held, isEnded) => {
      if (this.isStillBound(kept)) this.checkClaim(kept, held);
      if (isEnded) stream.sink[kOnEnd](stream);
    });
  }

  /** What the OPEN claims has to hold before anybody is asked about it. */
  private checkClaim(call: Call, rest: Buffer): void {
    const { security, farEnds } = this.host;
    const { stream, binding, open, far } = call;
    let claim: DialClaim;
    try {
      claim = security.claimOf(open);
    } catch (error) {
      security.refused(open.src, far.via, error as Error);
      this.refuse(stream, ReplyCode.INSECURE, (error as Error).message);
      return;
    }
    const claimed = { ...call, far: farEnds.secure(far), claim };
    if (binding.guards === undefined || this.neighbour === null) this.acceptCall(claimed, rest);
    else this.ask(binding.guards, claimed, rest);
  }

  /** Asks whether the circuit is allowed. Nothing is told to the server before. */
  private ask(guards: readonly Guard[], call: Call, rest: Buffer): void {
    const { decisions, host } = this;
    const { stream, binding, open, far } = call;
    if (decisions.isFull) {
      this.refuse(stream, ReplyCode.LIMIT, `${decisions.waiting} circuits wait to be allowed (maxPendingDecisions)`);
      return;
    }
    // What is bound, whatever was dialled: a port leads to names as well.
    const to = { service: binding.service, port: portOf(open, binding) };
    const request = host.access.request(far, this.envsOf(far, open.env), to);
    decisions.ask(guards, request, open.remainingMs, stream, rest, (verdict, bytes) => {
      if (verdict !== true) {
        host.counters.denied++;
        this.refuse(stream, ReplyCode.DENIED, verdict);
      } else if (this.isStillBound(call)) this.acceptCall(call, bytes);
    });
  }

  /** False when the server was closed while the circuit waited, which is refused then. */
  private isStillBound({ stream, binding, open }: Call): boolean {
    if (this.host.bindings.find(open.service, open.dstPort) === binding) return true;
    this.refuse(stream, ReplyCode.REFUSED, '');
    return false;
  }

  /** Digests of the envs that the other end says it is in. */
  private envsOf(far: FarEnd, said: string | undefined): readonly string[] {
    if (far.via.length === 0) return this.envDigests;
    const known = said ?? this.host.sharedEnv(far.peerId);
    return known === undefined ? [] : [known];
  }

  private acceptCall({ stream, binding, open, far, claim }: Call, rest: Buffer): void {
    if (claim === undefined) {
      this.accept(stream, binding, open, far, rest);
      return;
    }
    const to = { service: open.service, port: portOf(open, binding), srcPort: open.srcPort };
    const refusal = this.unconfirmed.accept(stream, binding.server, claim, far, to);
    if (refusal !== undefined) this.refuse(stream, refusal.code, refusal.reason);
    else if (rest.length > 0) stream.sink[kOnData](stream, rest);
  }

  private accept(stream: MuxStream, binding: Binding, open: Open, far: FarEnd, rest: Buffer): void {
    const port = portOf(open, binding);
    stream.accept();
    const socket = binding.server[kAdmit](stream, far, open.service, port, open.srcPort);
    if (socket === null) {
      this.refuse(stream, ReplyCode.LIMIT, 'the server has as many connections as it may (maxConnections)');
      return;
    }
    this.host.counters.accepted++;
    const reply = binding.acceptance(port);
    if (!stream.write(reply)) stream.sink = new QueuedPrefix(socket, reply.length);
    try {
      binding.server[kAnnounce](socket);
    } finally {
      // After the listeners are there, so that it reaches them without a detour over the socket's buffer.
      if (rest.length > 0) stream.sink[kOnData](stream, rest);
    }
  }

  private refuse(stream: MuxStream, code: number, reason: string): void {
    log('refused a circuit of %s: %d %s', this.far.peerId, code, reason);
    this.host.counters.refused++;
    stream.accept();
    stream.write(encodeReply({ code, port: 0, at: this.host.nodeId, reason }));
    // On a busy link it may have to wait, and is to arrive all the same.
    stream.abandon(true);
  }

  private watch(stream: MuxStream): SlowOpen {
    const slow = new SlowOpen(this, stream, this.host.openTimeoutMs);
    this.slow.add(slow);
    return slow;
  }
}

/** The port that is dialled: when it was left open, that of the service. */
function portOf(open: Open, binding: Binding): number {
  return open.dstPort === 0 ? binding.port : open.dstPort;
}
