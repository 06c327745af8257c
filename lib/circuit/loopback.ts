// A link of the node to itself: two sessions over a Duplex pair in memory, so that a socket to this node behaves like any other.
// Made when it is first needed.

import { Duplex } from 'node:stream';
import type { NodeId } from '../address.js';
import { MuxSession, type SessionOwner } from '../mux/session.js';
import type { SessionOptions } from '../mux/session-options.js';
import type { MuxStream, StreamSink } from '../mux/stream/stream.js';
import type { RemoteEndpoint } from '../socket/endpoints.js';
import { withoutContext } from '../util/runtime/no-context.js';
import { setImmediate } from '../util/runtime/real-timers.js';
import { Acceptor, type AcceptorHost } from './accept/acceptor.js';
import type { DirectPath } from './paths.js';

type Callback = (error?: Error | null) => void;

/**
 * One of two Duplexes in memory, with the pace of the system: what is written arrives in a later turn of the event loop, each chunk
 * in a callback of its own, with all ticks and promises in between. So a node that dials itself has the same time to attach
 * listeners as over TCP.
 */
class MemoryEnd extends Duplex {
  peer: MemoryEnd | null = null;

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: Callback): void {
    later(() => {
      this.peer?.push(chunk);
      callback();
    });
  }

  override _writev(items: Array<{ chunk: Buffer }>, callback: Callback): void {
    const last = items.length - 1;
    items.forEach(({ chunk }, index) => {
      later(() => {
        this.peer?.push(chunk);
        if (index === last) callback();
      });
    });
  }

  override _final(callback: Callback): void {
    later(() => {
      this.peer?.push(null);
      callback();
    });
  }

  override _destroy(error: Error | null, callback: Callback): void {
    later(() => this.peer?.destroy());
    callback(error);
  }
}

function later(run: () => void): void {
  withoutContext(setImmediate, run);
}

function memoryPair(): [near: Duplex, far: Duplex] {
  const near = new MemoryEnd();
  const far = new MemoryEnd();
  near.peer = far;
  far.peer = near;
  return [near, far];
}

/** Nothing here can be silent or slow unless this process is. */
const OPTIONS: Partial<SessionOptions> = {
  starlanePeer: true,
  maxUnackedOpens: Number.POSITIVE_INFINITY,
  openTimeoutMs: 0,
  keepAliveMs: 0,
};

export class Loopback implements DirectPath {
  readonly remote: RemoteEndpoint;
  private near: MuxSession | undefined;
  private far: MuxSession | undefined;
  private ending: Array<Promise<void>> = [];

  constructor(
    nodeId: NodeId,
    private readonly host: AcceptorHost,
    private readonly limits: Partial<SessionOptions>,
  ) {
    this.remote = Object.freeze({
      localId: nodeId,
      peerId: nodeId,
      via: Object.freeze([]),
      isVerified: true,
      addresses: host.addresses,
      name: undefined,
    });
  }

  /** Open streams of both directions, each counted once. */
  get streams(): number {
    return this.near === undefined ? 0 : this.near.streamCount;
  }

  /** Both ends of it, once it is used: the one that dials, and the one that accepts. */
  get sessions(): readonly MuxSession[] {
    return this.near === undefined || this.far === undefined ? [] : [this.near, this.far];
  }

  /** Always, since it is made again when it is needed. */
  readonly canOpen = true;

  open(sink: StreamSink, first: Buffer): MuxStream {
    if (this.near === undefined || !this.near.canOpen) this.near = this.connect();
    return this.near.open(sink, first);
  }

  /** Ends the sessions gracefully and resolves when they have ended. They are made again if they are needed again. */
  async close(): Promise<void> {
    this.near?.close();
    this.near = undefined;
    this.far = undefined;
    const { ending } = this;
    this.ending = [];
    await Promise.all(ending);
  }

  private connect(): MuxSession {
    const [nearDuplex, farDuplex] = withoutContext(memoryPair);
    const options = { ...OPTIONS, ...this.limits, timers: this.host.timers };
    const acceptor = new Acceptor(this.host, this.remote, true, null);
    const far = new End(acceptor);
    const near = new End(undefined);
    this.ending = [far.ended, near.ended];
    this.far = new MuxSession(farDuplex, { ...options, client: false }, far);
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
    this.acceptor?.dispose();
    this.end();
  }
}
