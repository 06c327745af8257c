// Direct links on demand. Pairs of nodes whose circuits through relays are busy get their own link: the notes of circuits show the
// control plane which pairs these are.

import type { NodeId } from '../address.js';
import type { MuxStream, StreamSink } from '../mux/stream/stream.js';
import { PassThroughSink } from './open/pass-through.js';

/** Makes direct links on demand. */
export interface DirectLinks {
  /** Resolves when there is a link to the node; rejects when there will be none. */
  request(nodeId: NodeId, signal: AbortSignal): Promise<unknown>;
  /** Notes what the circuits of this node to another have done through relays since the last note, and how many are open. */
  note(
    nodeId: NodeId,
    traffic: {
      readonly opens?: number;
      readonly bytes?: number;
      readonly live?: number;
      /** The time from OPEN to its answer. */
      readonly relayRttMs?: number;
    },
  ): void;
}

/** Bytes between two notes of a circuit. */
const NOTED_BYTES = 256 * 1024;

/** The relayed circuits of this node to one other node. */
interface Destination {
  readonly nodeId: NodeId;
  live: number;
}

/** Counts the relayed circuits that this node has dialled. */
export class RelayedTraffic {
  private readonly destinations = new Map<NodeId, Destination>();

  constructor(private readonly directLinks: DirectLinks) {}

  /** Counts a circuit that is open. Returns the sink to put between its stream and `sink`. */
  opened(nodeId: NodeId, sink: StreamSink, relayRttMs: number): MeteredSink {
    let destination = this.destinations.get(nodeId);
    if (destination === undefined) {
      destination = { nodeId, live: 0 };
      this.destinations.set(nodeId, destination);
    }
    destination.live++;
    this.directLinks.note(nodeId, { opens: 1, live: destination.live, relayRttMs });
    return new MeteredSink(sink, this, destination);
  }

  /** @internal */
  moved(destination: Destination, bytes: number): void {
    this.directLinks.note(destination.nodeId, { bytes });
  }

  /** @internal */
  closed(destination: Destination, bytes: number): void {
    const { nodeId } = destination;
    destination.live--;
    if (destination.live === 0) this.destinations.delete(nodeId);
    this.directLinks.note(nodeId, { bytes, live: destination.live });
  }
}

/** Counts bytes by the credit that moves: that is seldom, and right to within one window. */
class MeteredSink extends PassThroughSink {
  private bytes = 0;

  constructor(
    sink: StreamSink,
    private readonly traffic: RelayedTraffic,
    private readonly destination: Destination,
  ) {
    super(sink);
  }

  /** Counts the circuit as closed. Call it once. */
  close(): void {
    this.traffic.closed(this.destination, this.bytes);
  }

  override onCredit(_stream: MuxStream, bytes: number): void {
    this.bytes += bytes;
    if (this.bytes < NOTED_BYTES) return;
    this.traffic.moved(this.destination, this.bytes);
    this.bytes = 0;
  }
}
