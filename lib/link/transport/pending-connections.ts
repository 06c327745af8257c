// Connections to the listeners of a node that are no links yet: in the middle of tls or of the handshake. Each may cost a file
// descriptor, a tls handshake and some KiB, so their number is limited.
//
// When there are too many, a slow one gives way: otherwise a hundred that send nothing could keep all others out, for as long as they
// come back. A quick one stays, as otherwise many at once would push each other out, and none would get through.

import { starlaneError } from '../../errors.js';
import type { Timers } from '../../util/timers.js';

/** A handshake with a peer at the other end of the world is done by then, in ms. */
const GRACE_MS = 1_000;

export class PendingConnection {
  /** @internal */
  constructor(
    readonly sinceMs: number,
    /** Ends the connection. Set again by the part of the node that takes the connection over. */
    public reject: (error: Error) => void,
  ) {}
}

export class PendingConnections {
  /** The oldest one comes first. */
  private readonly all = new Set<PendingConnection>();

  constructor(
    private readonly max: number,
    private readonly timers: Timers,
  ) {}

  get count(): number {
    return this.all.size;
  }

  /** Adds a connection; undefined when there is no room. Call {@link remove} when it is a link or gone. */
  admit(reject: (error: Error) => void): PendingConnection | undefined {
    if (this.all.size >= this.max && !this.makeRoom()) return undefined;
    const connection = new PendingConnection(this.timers.now(), reject);
    this.all.add(connection);
    return connection;
  }

  /** Called when a connection is a link now, or gone. May be called more than once. */
  remove(connection: PendingConnection): void {
    this.all.delete(connection);
  }

  private makeRoom(): boolean {
    const [oldest] = this.all;
    if (oldest === undefined || this.timers.now() - oldest.sinceMs < GRACE_MS) return false;
    this.all.delete(oldest);
    oldest.reject(tooManyPending());
    return true;
  }
}

/** Returns the error of a connection that there is no room for. */
export function tooManyPending(): Error {
  return starlaneError('ERR_STARLANE_LINK_LIMIT', 'too many handshakes at a time');
}
