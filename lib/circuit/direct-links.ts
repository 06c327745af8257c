// Word of relayed circuits to whoever makes direct links for busy pairs: how many there are, and what goes over them.

import type { NodeId } from '../address.js';
import { kOnData, kOnEnd, kOnReset, kOnSent, kReadOn } from '../mux/hidden.js';
import type { MuxStream, StreamSink } from '../mux/stream/stream.js';

/** Makes direct links on demand. */
export interface Shortcuts {
  /** Resolved when there is a link to the node; rejected when there will be none. */
  request(nodeId: NodeId, signal: AbortSignal): Promise<unknown>;
  /** What circuits of this node to another have done through relays since the last note, and how many there are. */
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

/** The relayed circuits of this node to one other. */
interface Destination {
  readonly nodeId: NodeId;
  live: number;
}

/** Counts relayed circuits that this node has dialled. */
export class RelayedTraffic {
  private readonly destinations = new Map<NodeId, Destination>();

  /** @param shortcuts asked each time: there may be none */
  constructor(private readonly shortcuts: () => Shortcuts | undefined) {}

  /** A circuit stands. Returns what is to be between its stream and `sink`. */
  opened(nodeId: NodeId, sink: StreamSink, relayRttMs: number): MeteredSink {
    let destination = this.destinations.get(nodeId);
    if (destination === undefined) {
      destination = { nodeId, live: 0 };
      this.destinations.set(nodeId, destination);
    }
    destination.live++;
    this.shortcuts()?.note(nodeId, { opens: 1, live: destination.live, relayRttMs });
    return new MeteredSink(this, destination, sink);
  }

  /** @internal */
  moved(destination: Destination, bytes: number): void {
    this.shortcuts()?.note(destination.nodeId, { bytes });
  }

  /** @internal */
  closed(destination: Destination, bytes: number): void {
    const { nodeId } = destination;
    destination.live--;
    if (destination.live === 0) this.destinations.delete(nodeId);
    this.shortcuts()?.note(nodeId, { bytes, live: destination.live });
  }
}

/** Counts by the credit that moves, which is seldom, and right up to a window. */
export class MeteredSink implements StreamSink {
  private bytes = 0;

  constructor(
    private readonly traffic: RelayedTraffic,
    private readonly destination: Destination,
    private readonly sink: StreamSink,
  ) {}

  get keepsNothing(): boolean {
    return this.sink.keepsNothing === true;
  }

  /** The circuit is over. To be called once. */
  close(): void {
    this.traffic.closed(this.destination, this.bytes);
  }

  [kOnData](stream: MuxStream, chunk: Buffer): void {
    this.sink[kOnData](stream, chunk);
  }

  [kOnEnd](stream: MuxStream): void {
    this.sink[kOnEnd](stream);
  }

  [kOnSent](stream: MuxStream, bytes: number): void {
    this.sink[kOnSent](stream, bytes);
  }

  [kOnReset](stream: MuxStream, error: Error, reason: number): void {
    this.sink[kOnReset](stream, error, reason);
  }

  [kReadOn](stream: MuxStream, error: Error): boolean {
    return this.sink[kReadOn]?.(stream, error) === true;
  }

  onCredit(_stream: MuxStream, bytes: number): void {
    this.bytes += bytes;
    if (this.bytes < NOTED_BYTES) return;
    this.traffic.moved(this.destination, this.bytes);
    this.bytes = 0;
  }
}
