// The circuits that a participant has and wants: which to dial, accept and end. It holds no sockets and no clock, so that the simulation runs
// the same code.

import { chooseNeighbours } from './choice.js';

export interface NeighbourhoodLimits {
  /** How long the participant with the greater id waits for the other one to dial, in ms. */
  readonly graceMs: number;
  /** How long a circuit stays that is no longer wanted, so that trees find other paths first, in ms. */
  readonly lingerMs: number;
  /** How long a participant that has failed is left out of the choice: the first time, and at most, in ms. */
  readonly suspectMs: number;
  readonly maxSuspectMs: number;
  /** Circuits in all, including those that other participants have dialled. */
  readonly maxNeighbours: number;
}

export const NEIGHBOURHOOD_LIMITS: NeighbourhoodLimits = {
  graceMs: 1_000,
  lingerMs: 3_000,
  suspectMs: 2_000,
  maxSuspectMs: 60_000,
  maxNeighbours: 32,
};

/** A dial of the other end may arrive this long after the dial of this end was answered, in ms. */
const CROSSING_MS = 2_000;

export interface NeighbourhoodHost {
  now(): number;
  dial(id: string): void;
  hangUp(id: string): void;
  /** Asks for a call of {@link Neighbourhood.onTime} after `delayMs`. */
  wake(delayMs: number): void;
}

interface Circuit {
  state: 'dialling' | 'up';
  /** Whether this participant has dialled. */
  readonly ours: boolean;
  readonly sinceMs: number;
  unwantedSinceMs: number | undefined;
}

interface Suspect {
  untilMs: number;
  lastMs: number;
}

export class Neighbourhood {
  private members: readonly string[] = [];
  private direct: readonly string[] = [];
  private readonly circuits = new Map<string, Circuit>();
  private readonly suspects = new Map<string, Suspect>();
  /** Those that are wanted, and since when. */
  private wanted = new Map<string, number>();
  private wakeAtMs = Number.POSITIVE_INFINITY;

  constructor(
    private readonly self: string,
    private readonly host: NeighbourhoodHost,
    private readonly limits: NeighbourhoodLimits = NEIGHBOURHOOD_LIMITS,
  ) {}

  /** Called with all participants, and with those that have a link to this node, the nearest one first. */
  update(members: readonly string[], direct: readonly string[]): void {
    this.members = members;
    this.direct = direct;
    const known = new Set(members);
    for (const id of this.suspects.keys()) if (!known.has(id)) this.suspects.delete(id);
    this.refresh();
  }

  /**
   * Returns what becomes of a circuit that another participant has dialled. When both have dialled at the same time, both keep the circuit of
   * the smaller id; a later circuit takes the place of one that the other end has lost. 'wait': until the dial of this participant has
   * succeeded or failed, as one of the two circuits has to stay.
   */
  answerTo(id: string): 'accept' | 'wait' | 'refuse' {
    const circuit = this.circuits.get(id);
    if (circuit === undefined) return this.circuits.size < this.limits.maxNeighbours ? 'accept' : 'refuse';
    if (id < this.self) return 'accept';
    if (circuit.state === 'dialling') return 'wait';
    return circuit.ours && this.host.now() - circuit.sinceMs < CROSSING_MS ? 'refuse' : 'accept';
  }

  onUp(id: string, ours: boolean): void {
    this.circuits.set(id, { state: 'up', ours, sinceMs: this.host.now(), unwantedSinceMs: undefined });
    const suspect = this.suspects.get(id);
    if (suspect !== undefined) suspect.untilMs = 0;
    this.refresh();
  }

  /** A circuit has ended, or a dial has failed. `isFault`: the other participant seems to be gone, and has not hung up. */
  onDown(id: string, isFault: boolean): void {
    const circuit = this.circuits.get(id);
    this.circuits.delete(id);
    const now = this.host.now();
    if (isFault) {
      const { suspectMs, maxSuspectMs } = this.limits;
      const last = this.suspects.get(id)?.lastMs ?? 0;
      // A circuit that lasted longer than the last pause makes up for it.
      const hasLasted = circuit?.state === 'up' && now - circuit.sinceMs >= last;
      const lastMs = hasLasted ? suspectMs : Math.min(Math.max(2 * last, suspectMs), maxSuspectMs);
      this.suspects.set(id, { untilMs: now + lastMs, lastMs });
    } else if (this.wanted.has(id)) this.wanted.set(id, now);
    this.refresh();
  }

  onTime(): void {
    this.wakeAtMs = Number.POSITIVE_INFINITY;
    this.refresh();
  }

  private refresh(): void {
    const { host, limits, self } = this;
    const now = host.now();
    const isTrusted = (id: string): boolean => (this.suspects.get(id)?.untilMs ?? 0) <= now;
    const chosen = chooseNeighbours(self, this.members.filter(isTrusted), this.direct.filter(isTrusted));
    const wanted = new Map<string, number>();
    for (const id of chosen) wanted.set(id, this.wanted.get(id) ?? now);
    this.wanted = wanted;
    for (const [id, sinceMs] of wanted) {
      if (this.circuits.has(id)) continue;
      const dialAtMs = self < id ? sinceMs : sinceMs + limits.graceMs;
      if (dialAtMs > now) this.wakeBy(dialAtMs, now);
      else {
        this.circuits.set(id, { state: 'dialling', ours: true, sinceMs: now, unwantedSinceMs: undefined });
        host.dial(id);
      }
    }
    for (const [id, circuit] of this.circuits) {
      if (circuit.state !== 'up' || !circuit.ours || wanted.has(id)) {
        circuit.unwantedSinceMs = undefined;
        continue;
      }
      circuit.unwantedSinceMs ??= now;
      const endMs = circuit.unwantedSinceMs + limits.lingerMs;
      if (endMs > now) this.wakeBy(endMs, now);
      else {
        this.circuits.delete(id);
        host.hangUp(id);
      }
    }
    for (const { untilMs } of this.suspects.values()) if (untilMs > now) this.wakeBy(untilMs, now);
  }

  private wakeBy(atMs: number, now: number): void {
    if (atMs >= this.wakeAtMs) return;
    this.wakeAtMs = atMs;
    this.host.wake(atMs - now);
  }
}
