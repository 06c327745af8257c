// Circuit ids that came by a short while ago: one that comes again runs in a loop, whatever its list of visited nodes says.
// Two generations, so that forgetting costs nothing; bounded, so that a flood of opens cannot fill the memory.

export class SeenCircuits {
  private young = new Set<string>();
  private old = new Set<string>();
  private bornAt = Number.NEGATIVE_INFINITY;

  /** An id is remembered for `rememberMs` to twice as long, unless more than `maxRemembered` come in that time. */
  constructor(
    private readonly rememberMs: number,
    private readonly maxRemembered: number,
  ) {}

  get size(): number {
    return this.young.size + this.old.size;
  }

  /** Whether the circuit is seen for the first time. From now on it is known. */
  isNew(circuitId: Uint8Array, now: number): boolean {
    this.age(now);
    const key = Buffer.from(circuitId).toString('latin1');
    if (this.young.has(key) || this.old.has(key)) return false;
    this.young.add(key);
    return true;
  }

  private age(now: number): void {
    const age = now - this.bornAt;
    if (age < this.rememberMs && this.young.size < this.maxRemembered / 2) return;
    this.old = age < 2 * this.rememberMs ? this.young : new Set();
    this.young = new Set();
    this.bornAt = now;
  }
}
