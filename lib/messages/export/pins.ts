// Which instance the circuits of a caller go to. The protocol of messages resumes at the instance at which it began, and opens circuits for
// large messages there, while the caller only sees the node that exports the service.

import { random } from '../../mesh/directory/selector.js';
import type { ServiceInfo } from '../../mesh/directory/service.js';
import { RecentMap } from '../../util/recent-map.js';

/** Callers that are remembered. */
const MAX_CALLERS = 4_096;
/** How long an instance is kept for a caller that has no circuit open, so that it can resume. */
export const KEPT_MS = 60_000;

interface Pin {
  readonly nodeId: string;
  open: number;
  /** When its last circuit ended. */
  sinceMs: number;
}

export class Pins {
  private readonly pins = new RecentMap<string, Pin>(MAX_CALLERS);

  /** @param now the time in ms, of any clock that goes forward only */
  constructor(private readonly now: () => number) {}

  /** Returns the instance for a circuit of the caller: the one that it has, while that is there, else any. */
  pick(callerId: string, instances: readonly ServiceInfo[]): ServiceInfo | undefined {
    const pin = this.pins.get(callerId);
    if (pin !== undefined && (pin.open > 0 || this.now() - pin.sinceMs < KEPT_MS)) {
      const same = instances.find(({ nodeId }) => nodeId === pin.nodeId);
      if (same !== undefined) return same;
    }
    return instances.length === 0 ? undefined : random(instances);
  }

  /** A circuit of the caller is open to this node. Returns what to call at its end. */
  opened(callerId: string, nodeId: string): () => void {
    let pin = this.pins.get(callerId);
    if (pin?.nodeId !== nodeId) pin = { nodeId, open: 0, sinceMs: 0 };
    this.pins.set(callerId, pin);
    const own = pin;
    own.open++;
    return () => {
      own.open--;
      own.sinceMs = this.now();
    };
  }
}
