// Rate limits of warnings. Peers cause some of them, and an attempt that fails is repeated.

import { RecentMap } from './recent-map.js';
import type { Timers } from './timers.js';
import { type Rate, TokenBucket } from './token-bucket.js';

/** After one warning, further ones with the same code are counted only, for so long. */
const QUIET_MS = 60_000;

/** Codes with a limit of their own; all others share one. */
const MAX_KINDS = 64;

/** As Node prints it: `(node:123) [ECONNREFUSED] StarlaneWarning: connect ECONNREFUSED 127.0.0.1:1`. */
const TYPE = 'StarlaneWarning';

interface Kind {
  quietUntilMs: number;
  suppressed: number;
}

/**
 * Faults without a listener become warnings of the process, so that a wrong address or a wrong secret is noticed. At most one a
 * minute for each code.
 */
export class UnheardFaults {
  private readonly kinds = new Map<string, Kind>();

  /** @param now the time in ms */
  constructor(private readonly now: () => number) {}

  /** Calls process.emitWarning(), unless it did so for the same code within the last minute. */
  report(error: Error): void {
    const { code } = error as { code?: unknown };
    const kind = this.kindOf(typeof code === 'string' ? code : error.name);
    const now = this.now();
    if (now < kind.quietUntilMs) {
      kind.suppressed++;
      return;
    }
    const more = kind.suppressed === 0 ? '' : ` (and ${kind.suppressed} more with this code before)`;
    kind.quietUntilMs = now + QUIET_MS;
    kind.suppressed = 0;
    process.emitWarning(`${error.message}${more}`, {
      type: TYPE,
      ...(typeof code === 'string' ? { code } : {}),
      detail:
        "Further ones with this code are shown once a minute. A listener for 'warning' and 'error' of the node gets all of them.",
    });
  }

  private kindOf(name: string): Kind {
    const key = this.kinds.has(name) || this.kinds.size < MAX_KINDS ? name : '';
    const kind = this.kinds.get(key) ?? { quietUntilMs: Number.NEGATIVE_INFINITY, suppressed: 0 };
    this.kinds.set(key, kind);
    return kind;
  }
}

const RATE: Rate = { perS: 0.1, burst: 10 };
const MAX_REMEMBERED = 1_024;

/** Warns once about each subject, and never often in a short time. */
export class WarnOnce {
  private readonly known = new RecentMap<string, true>(MAX_REMEMBERED);
  private readonly bucket = new TokenBucket(RATE);

  constructor(
    private readonly timers: Timers,
    private readonly report: (error: Error) => void,
  ) {}

  warn(subject: string, error: Error): void {
    const now = this.timers.now();
    if (this.known.has(subject) || !this.bucket.canTake(now)) return;
    this.bucket.take(now);
    this.known.set(subject, true);
    this.report(error);
  }
}
