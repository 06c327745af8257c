// The way to another node, as far as a circuit needs to know it: today always a link, or this process itself.

import type { NodeId } from '../address.js';
import type { MuxStream, StreamSink } from '../mux/mux-stream.js';
import type { FarEnd } from '../socket/far-end.js';

/** Opens streams towards a node. */
export interface Path {
  /** Who is at the other end; shared by all sockets between the two nodes. */
  readonly far: FarEnd;
  /** @throws when no stream can be opened */
  open(sink: StreamSink, first: Buffer): MuxStream;
}

/** Knows the ways. */
export interface Paths {
  /** @throws ERR_STARLANE_* when there is a way that cannot be taken; undefined when there is none */
  toward(nodeId: NodeId): Path | undefined;
}
