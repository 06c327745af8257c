// A relay under the control of a spec: its neighbours are sessions that the spec drives, and its clock does not move
// unless the spec moves it.

import { type Duplex, duplexPair } from 'node:stream';
import type { NodeId } from '../../lib/address.js';
import { Acceptor, type AcceptorHost } from '../../lib/circuit/accept/acceptor.js';
import { Authorization } from '../../lib/circuit/accept/authorization.js';
import { Bindings } from '../../lib/circuit/bindings.js';
import type { Routes } from '../../lib/circuit/paths.js';
import { RelayNeighbour } from '../../lib/circuit/relay/admission.js';
import { DEFAULT_RELAY_LIMITS, type RelayLimits } from '../../lib/circuit/relay/limits.js';
import type { RelayHop } from '../../lib/circuit/relay/pending-relay.js';
import { Relay } from '../../lib/circuit/relay/relay.js';
import { RemoteEndpoints } from '../../lib/circuit/remote-endpoints.js';
import { CircuitSecurity } from '../../lib/circuit/secure/security.js';
import type { SessionOwner } from '../../lib/mux/session.js';
import { MuxSession } from '../../lib/mux/session.js';
import type { MuxStream } from '../../lib/mux/stream/stream.js';
import { socketAddresses } from '../../lib/socket/endpoints.js';
import { Timers } from '../../lib/util/timers.js';
import { encodeOpen, type Open, type OpenRequest, tryReadOpen } from '../../lib/wire/open.js';
import { encodeReply, type OpenReply, type ReadReply, tryReadReply } from '../../lib/wire/open-reply.js';
import { FakeClock } from './fake-clock.js';
import { createTestIdentity } from './identities.js';
import { NotingSink } from './session-fixture.js';
import { turn, turnsUntil } from './turns.js';

const ADDRESSES = socketAddresses('id');

const OPTIONS = { starlanePeer: true, maxUnackedOpens: Number.POSITIVE_INFINITY, openTimeoutMs: 0, keepAliveMs: 0 };

/** A node id that begins with this letter. */
export function nodeIdOf(letter: string): NodeId {
  return `${letter}AAAAAAAAAA`;
}

/** One end of a stream that the spec drives. */
export class ManualStream extends NotingSink {
  stream!: MuxStream;

  /** The OPEN that it began with. */
  get open(): Open {
    return (tryReadOpen(this.received) as { open: Open }).open;
  }

  /** The reply that it began with, if it is there. */
  get reply(): ReadReply | undefined {
    return tryReadReply(this.received)?.reply;
  }

  /** What followed OPEN, or the reply. */
  get data(): Buffer {
    const { received } = this;
    const bytesRead = this.isIncoming ? tryReadOpen(received)?.bytesRead : tryReadReply(received)?.bytesRead;
    return received.subarray(bytesRead ?? 0);
  }

  constructor(readonly isIncoming: boolean) {
    super();
  }

  answer(reply: Partial<OpenReply> & { at: NodeId }): void {
    this.stream.write(encodeReply({ code: 0, port: 1, ...reply }));
    if (reply.code !== undefined && reply.code !== 0) this.stream.close(true);
  }
}

/** A neighbour of the relay. */
export class ManualNeighbour implements SessionOwner {
  readonly session: MuxSession;
  /** The relay's end of the link. */
  readonly relayEnd: MuxSession;
  /** Streams that the relay has opened. */
  readonly incoming: ManualStream[] = [];
  /** Called with each stream of the relay, after it is accepted. */
  onIncoming: (stream: ManualStream) => void = () => {};
  readonly neighbour: RelayNeighbour;
  isLinked = true;
  /** This end of the link: pause() and resume() stop and go on reading it. */
  readonly duplex: Duplex;

  constructor(
    readonly id: NodeId,
    private readonly relayId: NodeId,
    host: AcceptorHost,
    limits: RelayLimits,
  ) {
    const [near, far] = duplexPair();
    near.once('close', () => far.destroy());
    far.once('close', () => near.destroy());
    this.duplex = far;
    this.neighbour = new RelayNeighbour(limits, host.timers.now());
    const end = Object.freeze({
      localId: relayId,
      peerId: id,
      via: [],
      isVerified: true,
      addresses: ADDRESSES,
      name: undefined,
    });
    const acceptor = new Acceptor(host, end, true, this.neighbour);
    const options = { ...OPTIONS, timers: host.timers, closeTimeoutMs: 1000, acceptBacklog: 16 };
    this.relayEnd = new MuxSession(
      near,
      { ...options, client: false },
      {
        onStream: (stream) => acceptor.onStream(stream),
        onClose: () => {
          this.isLinked = false;
          acceptor.dispose();
        },
      },
    );
    this.session = new MuxSession(far, { ...options, client: true, acceptBacklog: 1_000_000 }, this);
  }

  onStream(stream: MuxStream): void {
    const hand = new ManualStream(true);
    hand.stream = stream;
    stream.sink = hand;
    stream.useRelayWindow();
    stream.accept();
    this.incoming.push(hand);
    this.onIncoming(hand);
  }

  onClose(): void {}

  /** Opens a circuit of this neighbour through the relay. */
  open(dst: NodeId, changes: Partial<OpenRequest> = {}, data = ''): ManualStream {
    const hand = new ManualStream(false);
    const open = encodeOpen({
      hopLimit: 16,
      dst,
      dstPort: 7,
      src: this.id,
      srcPort: 50_000,
      circuitId: nextCircuitId(),
      service: '',
      remainingMs: 1000,
      ...changes,
    });
    hand.stream = this.session.open(hand, Buffer.concat([open, Buffer.from(data)]));
    hand.stream.useRelayWindow();
    return hand;
  }

  /** The answer to {@link open}. */
  async answerTo(hand: ManualStream): Promise<ReadReply> {
    await turnsUntil(`${this.relayId} answers`, () => hand.reply !== undefined, 1000);
    return hand.reply as ReadReply;
  }

  /** The stream number `index` that the relay has opened, with OPEN on it. */
  async arrived(index = 0): Promise<ManualStream> {
    await turnsUntil('an OPEN arrives', () => this.incoming.length > index && this.incoming[index].received.length > 2);
    return this.incoming[index];
  }
}

let circuits = 0;

function nextCircuitId(): Buffer {
  const id = Buffer.alloc(16);
  id.writeUInt32BE(++circuits, 12);
  return id;
}

export class RelayFixture {
  readonly clock = new FakeClock();
  readonly timers = new Timers(this.clock, 1);
  readonly id = nodeIdOf('R');
  readonly limits: RelayLimits;
  readonly relay: Relay;
  readonly neighbours = new Map<NodeId, ManualNeighbour>();
  private readonly host: AcceptorHost;

  /** `routes`: neighbours, as letters, to try for a destination. */
  constructor(
    routes: Partial<Routes> & { nextHops: Routes['nextHops'] },
    limits: Partial<RelayLimits> = {},
    isEnabled = true,
  ) {
    this.limits = { ...DEFAULT_RELAY_LIMITS, ...limits };
    const allRoutes: Routes = { route: () => undefined, penalise: () => {}, reward: () => {}, ...routes };
    this.relay = new Relay({
      nodeId: this.id,
      timers: this.timers,
      limits: this.limits,
      isEnabled,
      routes: allRoutes,
      hop: (neighbour) => this.hop(neighbour),
    });
    this.host = {
      nodeId: this.id,
      addresses: ADDRESSES,
      bindings: new Bindings({ nodeId: this.id, addresses: ADDRESSES, onUnbind: () => {} }),
      timers: this.timers,
      openTimeoutMs: 1000,
      counters: { accepted: 0, refused: 0, denied: 0, quantumSafe: 0 },
      isDraining: false,
      authorization: new Authorization({
        allow: undefined,
        env: [],
        timers: this.timers,
        timeoutMs: 1000,
        maxPending: 16,
        onWarning: () => {},
      }),
      security: new CircuitSecurity({
        identity: createTestIdentity(),
        networkKeys: [],
        publicKeyOf: () => undefined,
        warn: () => {},
      }),
      maxUnconfirmed: 16,
      opensPerSecond: 100_000,
      sharedEnv: () => undefined,
      relay: this.relay,
      remotes: new RemoteEndpoints(this.id, ADDRESSES),
      knowsEnv: () => true,
      membership: undefined,
      transportTo: () => undefined,
      watch: () => {},
    };
  }

  link(letter: string): ManualNeighbour {
    const id = nodeIdOf(letter);
    const neighbour = new ManualNeighbour(id, this.id, this.host, this.limits);
    this.neighbours.set(id, neighbour);
    return neighbour;
  }

  /** An established circuit from S to D. */
  async circuit(from: ManualNeighbour, to: ManualNeighbour): Promise<{ near: ManualStream; far: ManualStream }> {
    const count = to.incoming.length;
    const near = from.open(to.id);
    const far = await to.arrived(count);
    far.answer({ at: to.id });
    await from.answerTo(near);
    return { near, far };
  }

  /** Time passes, and the event loop turns. */
  async pass(ms: number): Promise<void> {
    this.clock.advance(ms);
    this.clock.runImmediates();
    await turn();
  }

  /** Nothing of any circuit is left. */
  get isIdle(): boolean {
    const { counters, pool, heldBytes } = this.relay;
    const claimed = [...this.neighbours.values()].some(
      ({ neighbour }) => neighbour.circuits + neighbour.share.held + neighbour.sources.size > 0,
    );
    return counters.circuits + counters.pending + pool.size + heldBytes === 0 && !claimed;
  }

  async close(): Promise<void> {
    for (const { session, relayEnd } of this.neighbours.values()) {
      session.destroy();
      relayEnd.destroy();
    }
    await turnsUntil('nothing is left', () => this.isIdle, 1000);
    await this.pass(5000);
  }

  private hop(id: NodeId): RelayHop | undefined {
    const found = this.neighbours.get(id);
    if (found === undefined || !found.isLinked) return undefined;
    return {
      rttMs: 0,
      lateMs: 0,
      canOpen: found.relayEnd.canOpen,
      neighbour: found.neighbour,
      open: (sink, first) => found.relayEnd.open(sink, first),
    };
  }
}
