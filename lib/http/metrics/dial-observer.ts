// What is measured of dials as they end: their durations, and the codes of their errors. It comes by the diagnostics channel, which costs
// nothing before there are metrics.

import { channel } from 'node:diagnostics_channel';
import { codeOf, ERRORS } from '../../errors.js';
import type { DialEvent } from '../../util/diagnostics.js';

/** Called when a dial of the node has ended. */
export interface DialListener {
  onConnected(path: 'direct' | 'relayed', seconds: number): void;
  onFailed(code: string): void;
}

/** Bounds the codes, as a selector or a signal of the program may give any error. */
const OTHER = 'other';

/** Observes the dials of a node, until the function that is returned is called. */
export function observeDials(nodeId: string, listener: DialListener): () => void {
  const onEnd = (message: unknown): void => {
    const { nodeId: of, via, durationMs = 0, error } = message as DialEvent;
    if (of !== nodeId) return;
    if (error === undefined) listener.onConnected(via?.length ? 'relayed' : 'direct', durationMs / 1000);
    else {
      const code = codeOf(error);
      listener.onFailed(code !== undefined && code in ERRORS ? code : OTHER);
    }
  };
  // By its name: everybody who imports the library would load one more file of it otherwise.
  const ends = channel('tracing:starlane:dial:asyncEnd');
  ends.subscribe(onEnd);
  return () => ends.unsubscribe(onEnd);
}
