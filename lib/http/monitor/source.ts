// Where the monitor gets what it shows. A node is one source; specs have another, of any size.

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
  /** Returns what there is now. */
  read(): Snapshot;
  /** Starts to report changes; returns a function that ends it. */
  watch(watcher: SourceWatcher): () => void;
}
