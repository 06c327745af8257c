// Random numbers from a seed: the same seed, the same run.

export class Random {
  private state: number;

  constructor(seed: number) {
    this.state = seed >>> 0;
  }

  /** From 0 up to 1 (mulberry32). */
  next(): number {
    this.state = (this.state + 0x6d2b_79f5) | 0;
    let mixed = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A number from `min` up to `max`. */
  between(min: number, max: number): number {
    return min + (max - min) * this.next();
  }

  /** A whole number from 0 up to `count`. */
  below(count: number): number {
    return Math.floor(count * this.next());
  }

  /** Waits of this mean, as of things that happen at any moment. */
  exponential(mean: number): number {
    return -mean * Math.log(1 - this.next());
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)];
  }

  /** Any `count` of them, in any order. */
  sample<T>(items: readonly T[], count: number): T[] {
    const rest = [...items];
    const taken: T[] = [];
    while (taken.length < count && rest.length > 0) {
      const at = this.below(rest.length);
      taken.push(rest[at]);
      rest[at] = rest[rest.length - 1];
      rest.pop();
    }
    return taken;
  }

  bytes(length: number): Buffer {
    const bytes = Buffer.alloc(length);
    for (let at = 0; at < length; at++) bytes[at] = this.below(256);
    return bytes;
  }

  uuid(): string {
    return this.bytes(16)
      .toString('hex')
      .replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
  }

  /** An independent generator. */
  fork(): Random {
    return new Random(Math.floor(this.next() * 2 ** 32));
  }
}
