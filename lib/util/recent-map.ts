// A map that keeps what was used last, up to a limit: for what is remembered about peers, who may make up any number of
// ids and addresses.

export class RecentMap<Key, Value> {
  private readonly map = new Map<Key, Value>();

  constructor(private readonly limit: number) {}

  get size(): number {
    return this.map.size;
  }

  has(key: Key): boolean {
    return this.map.has(key);
  }

  /** What is read counts as used. */
  get(key: Key): Value | undefined {
    const value = this.map.get(key);
    if (value !== undefined) {
      this.map.delete(key);
      this.map.set(key, value);
    }
    return value;
  }

  /** The same, and it stays as old as it is. */
  peek(key: Key): Value | undefined {
    return this.map.get(key);
  }

  set(key: Key, value: Value): void {
    this.map.delete(key);
    if (this.map.size >= this.limit) this.dropOldest();
    this.map.set(key, value);
  }

  delete(key: Key): boolean {
    return this.map.delete(key);
  }

  /** The one that was used longest ago goes. */
  dropOldest(): void {
    for (const key of this.map.keys()) {
      this.map.delete(key);
      return;
    }
  }

  /** Least recently used first. */
  values(): IterableIterator<Value> {
    return this.map.values();
  }
}
