// What a node counts of its links.

/** Why a handshake came to nothing, at either end of it. */
export type RefusalKind = 'secret' | 'identity' | 'tls' | 'version' | 'timeout' | 'limit' | 'other';

/** Counts since the start. */
export interface LinkCounters {
  /** Links that came up. */
  opened: number;
  /** Links lost other than by close() of either side. */
  lost: number;
  /** Handshakes that failed, were refused or were turned away. */
  failed: number;
  /** The same, by kind. */
  readonly refused: Record<RefusalKind, number>;
}

export function newCounters(): LinkCounters {
  const refused = { secret: 0, identity: 0, tls: 0, version: 0, timeout: 0, limit: 0, other: 0 };
  return { opened: 0, lost: 0, failed: 0, refused };
}

/** Counts a handshake that failed with this error. */
export function countFailure(counters: LinkCounters, error: Error): void {
  counters.failed++;
  counters.refused[KINDS.get((error as { code?: string }).code) ?? 'other']++;
}

/** Counts a dial that came to no link, when somebody was there: that nobody is there is no failed handshake. */
export function countDial(counters: LinkCounters, error: Error): void {
  if (KINDS.has((error as { code?: string }).code)) countFailure(counters, error);
}

const KINDS: ReadonlyMap<string | undefined, RefusalKind> = new Map([
  ['ERR_STARLANE_SECRET', 'secret'],
  ['ERR_STARLANE_IDENTITY', 'identity'],
  ['ERR_STARLANE_TLS', 'tls'],
  ['ERR_STARLANE_VERSION', 'version'],
  ['ERR_STARLANE_HANDSHAKE_TIMEOUT', 'timeout'],
  ['ERR_STARLANE_LINK_LIMIT', 'limit'],
]);
