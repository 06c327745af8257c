// A link of the node to itself: two sessions over a Duplex pair in memory, so that a socket to this node behaves as any
// other. Made when it is first needed.

import type { NodeId } from '../address.js';
import { MuxSession, type SessionOwner } from '../mux/session.js';
import type { SessionOptions } from '../mux/session-options.js';
import type { MuxStream, StreamSink } from '../mux/stream/stream.js';
import type { FarEnd } from '../socket/far-end.js';
import { withoutContext } from '../util/runtime/no-context.js';
import { Acceptor, type AcceptorHost } from './accept/acceptor.js';
import { memoryPair } from './memory-pair.js';
import type { Path } from './path.js';

/** Nothing can be silent or slow here that this process is not itself. */
const OPTIONS: Partial<SessionOptions> = {
  starlanePeer: true,
  maxUnackedOpens: Number.POSITIVE_INFINITY,
  openTimeoutMs: 0,
  keepAliveMs: 0,
};

export class Loopback implements Path {
  readonly far: FarEnd;
  private near: MuxSession | undefined;
  private ending: Array<Promise<void>> = [];

  constructor(
    nodeId: NodeId,
    private readonly host: AcceptorHost,
    private readonly limits: Partial<SessionOptions>,
  ) {
    this.far = Object.freeze({
      localId: nodeId,
      peerId: nodeId,
      via: Object.freeze([]),
      isVerified: true,
      addresses: host.addresses,
      name: undefined,
    });
  }

  /** Streams of both directions, counted once. */
  get streams(): number {
    return this.near === undefined ? 0 : this.near.streamCount;
  }

  /** It is made anew when it is needed. */
  readonly canOpen = true;

  open(sink: StreamSink, first: Buffer): MuxStream {
    if (this.near === undefined || !this.near.canOpen) this.near = this.connect();
    return this.near.open(sink, first);
  }

  /** Ends it in order; resolved when it has ended. It is made anew if it is needed again. */
  async close(): Promise<void> {
    this.near?.close();
    this.near = undefined;
    const { ending } = this;
    this.ending = [];
    await Promise.all(ending);
  }

  private connect(): MuxSession {
    const [nearDuplex, farDuplex] = withoutContext(memoryPair);
    const options = { ...OPTIONS, ...this.limits, timers: this.host.timers };
    const acceptor = new Acceptor(this.host, this.far, true, null);
    const far = new End(acceptor);
    const near = new End(undefined);
    this.ending = [far.ended, near.ended];
    const farSession = new MuxSession(farDuplex, { ...options, client: false }, far);
    void farSession;
    return new MuxSession(nearDuplex, { ...options, client: true }, near);
  }
}

class End implements SessionOwner {
  readonly ended: Promise<void>;
  private end: () => void = () => {};

  constructor(private readonly acceptor: Acceptor | undefined) {
    this.ended = new Promise((resolve) => {
      this.end = resolve;
    });
  }

  onStream(stream: MuxStream): void {
    if (this.acceptor === undefined) stream.reset();
    else this.acceptor.onStream(stream);
  }

  onClose(): void {
    this.acceptor?.stop();
    this.end();
  }
}
