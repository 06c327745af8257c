// Where the monitor gets what it shows. A node is one source; specs have another, of any size.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { EventLevel, Snapshot } from './snapshot.js';

export interface SourceWatcher {
  /** Called when a snapshot would differ in more than its counters. */
  onChange(): void;
  onEvent(kind: string, level: EventLevel, text: string): void;
  /** Called once, when there is nothing more to see. */
  onEnd(): void;
}

export interface MonitorSource {
  /** The id of the node. */
  readonly id: string;
  /** Answers requests of the queries of a node, whose paths begin with /v1/. */
  readonly api?: ((request: IncomingMessage, response: ServerResponse) => void) | undefined;
  /** As `api`, for clients that are no members: it answers what all nodes may ask. */
  readonly guestApi?: MonitorSource['api'];
  /** Returns what there is now. */
  read(): Snapshot;
  /** Starts to report changes; returns a function that ends it. */
  watch(watcher: SourceWatcher): () => void;
}
