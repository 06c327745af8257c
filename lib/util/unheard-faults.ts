// Faults that no listener of a node hears: they become warnings of the process, so that a wrong address or a wrong secret is
// not silence. Rate-limited per code, as an attempt that fails is repeated for ever, and peers cause some of them.

/** After one warning, further ones with the same code are counted only, for so long. */
const QUIET_MS = 60_000;

/** Codes that are told apart; all others share one limit. */
const MAX_KINDS = 64;

/** As Node prints it: `(node:123) [ECONNREFUSED] StarlaneWarning: connect ECONNREFUSED 127.0.0.1:1`. */
const TYPE = 'StarlaneWarning';

interface Kind {
  quietUntilMs: number;
  suppressed: number;
}

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
