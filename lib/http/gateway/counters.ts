// What a gateway counts.

/** Counters of a gateway, as a plain object. */
export interface GatewayStats {
  /** Whether it serves, or finishes what is open. */
  readonly state: 'open' | 'draining' | 'closed';
  /** Connections of clients, now and since the start; and those that a limit has refused. */
  readonly connections: { readonly open: number; readonly total: number; readonly refused: number };
  readonly requests: {
    /** Requests, WebSockets included, that have no whole answer yet. */
    readonly open: number;
    readonly total: number;
    /** Refused before a service was chosen: malformed, or beyond a limit. */
    readonly rejected: number;
    /** Sent again after an idle circuit had broken, or to the next service of a rule. */
    readonly retried: number;
    /** By service and class of the status: `{ web: { '2xx': 10, '5xx': 1 } }`. What has no service is under the empty name. */
    readonly byService: Readonly<Record<string, Readonly<Record<string, number>>>>;
  };
  /** Circuits to services that are open, idle ones included: for HTTP/1.1, and for HTTP/2. */
  readonly circuits: { readonly http1: number; readonly http2: number };
  /** Bytes of bodies, from clients and to them. */
  readonly bytes: { readonly in: number; readonly out: number };
}

/** Names of services can come from hosts that strangers invent. */
const MAX_SERVICES = 1_000;
const OTHERS = '*';

/** By class of the status: index 2 is 2xx. */
type Classes = number[];

export class Counters {
  connections = 0;
  totalConnections = 0;
  refusedConnections = 0;
  open = 0;
  total = 0;
  rejected = 0;
  retried = 0;
  bytesIn = 0;
  bytesOut = 0;
  private readonly services = new Map<string, Classes>();

  /** Counts a request that has ended. */
  count(service: string, status: number): void {
    let classes = this.services.get(service);
    if (classes === undefined) {
      const name = this.services.size < MAX_SERVICES ? service : OTHERS;
      classes = this.services.get(name) ?? [0, 0, 0, 0, 0, 0];
      this.services.set(name, classes);
    }
    classes[Math.min(Math.trunc(status / 100), 5)]++;
  }

  byService(): Record<string, Record<string, number>> {
    const result: Record<string, Record<string, number>> = Object.create(null);
    for (const [service, classes] of this.services) {
      const counts: Record<string, number> = {};
      classes.forEach((count, index) => {
        if (count > 0) counts[index === 0 ? 'aborted' : `${index}xx`] = count;
      });
      result[service] = counts;
    }
    return result;
  }
}
