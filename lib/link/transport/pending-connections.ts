// Connections to the listeners of a node that are no links yet: in the middle of tls or of the handshake. Each may cost a file
// descriptor, a tls handshake and some KiB, so their number is limited.
//
// When there are too many, a slow one gives way: otherwise a hundred that send nothing could keep all others out, for as long as they
// come back. A quick one stays, as otherwise many at once would push each other out, and none would get through.
//
// A machine that asks to become a member waits for an issuer, which may be far away. So it does not give way, but has a deadline of its own,
// and such machines take at most half of the room: they do not keep links out, nor links them.

import { starlaneError } from '../../errors.js';
import type { Timer, Timers } from '../../util/timers.js';

/** A handshake with a peer at the other end of the world is done by then, in ms. */
const GRACE_MS = 1_000;

const HELD_SHARE = 0.5;

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
  /** Those that do not give way, with their deadlines. */
  private readonly held = new Map<PendingConnection, Timer>();

  constructor(
    private readonly max: number,
    private readonly timers: Timers,
  ) {}

  get count(): number {
    return this.all.size + this.held.size;
  }

  /** Adds a connection; undefined when there is no room. Call {@link remove} when it is a link or gone. */
  admit(reject: (error: Error) => void): PendingConnection | undefined {
    if (this.count >= this.max && !this.makeRoom()) return undefined;
    const connection = new PendingConnection(this.timers.now(), reject);
    this.all.add(connection);
    return connection;
  }

  /** Called when a connection is a link now, or gone. May be called more than once. */
  remove(connection: PendingConnection): void {
    this.all.delete(connection);
    const timer = this.held.get(connection);
    if (timer === undefined) return;
    this.held.delete(connection);
    this.timers.cancel(timer);
  }

  /** Lets a connection stay for up to `timeoutMs`, when it is rejected. Returns false when there are too many of those. */
  hold(connection: PendingConnection, timeoutMs: number): boolean {
    if (this.held.size >= Math.max(1, Math.floor(this.max * HELD_SHARE))) return false;
    this.all.delete(connection);
    const onDeadline = (): void => {
      this.held.delete(connection);
      connection.reject(starlaneError('ERR_STARLANE_HANDSHAKE_TIMEOUT'));
    };
    this.held.set(connection, this.timers.schedule(timeoutMs, { onDeadline }));
    return true;
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
