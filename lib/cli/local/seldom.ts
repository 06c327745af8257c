// Warnings about connections: the first of a kind at once, and then at most one a minute for each kind, with a count.

import type { Log } from '../log.js';

const QUIET_MS = 60_000;
const MAX_KINDS = 64;

interface Kind {
  quietUntilMs: number;
  suppressed: number;
}

export class SeldomLog {
  private readonly kinds = new Map<string, Kind>();

  constructor(
    private readonly log: Log,
    private readonly now: () => number = Date.now,
  ) {}

  warn(kind: string, message: string, fields?: Readonly<Record<string, unknown>>): void {
    const known = this.kinds.get(kind);
    const nowMs = this.now();
    if (known !== undefined && nowMs < known.quietUntilMs) {
      known.suppressed++;
      this.log.debug(message, fields);
      return;
    }
    if (known === undefined && this.kinds.size >= MAX_KINDS) {
      const [oldest] = this.kinds.keys();
      this.kinds.delete(oldest);
    }
    this.kinds.set(kind, { quietUntilMs: nowMs + QUIET_MS, suppressed: 0 });
    const more = known === undefined || known.suppressed === 0 ? '' : ` (and ${known.suppressed} more like it before)`;
    this.log.warn(message + more, fields);
  }
}
