// A map of limited size that drops the entry used longest ago (LRU): for data about peers, which may make up any number of ids and
// addresses.

export class RecentMap<Key, Value> {
  private readonly map = new Map<Key, Value>();

  constructor(private readonly limit: number) {}

  get size(): number {
    return this.map.size;
  }

  has(key: Key): boolean {
    return this.map.has(key);
  }

  /** Returns the value, which counts as a use. */
  get(key: Key): Value | undefined {
    const value = this.map.get(key);
    if (value !== undefined) {
      this.map.delete(key);
      this.map.set(key, value);
    }
    return value;
  }

  /** Returns the value without counting it as a use. */
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

  /** Drops the entry that was used longest ago. */
  dropOldest(): void {
    for (const key of this.map.keys()) {
      this.map.delete(key);
      return;
    }
  }

  /** Returns the keys, least recently used first. */
  keys(): IterableIterator<Key> {
    return this.map.keys();
  }

  /** Returns the values, least recently used first. */
  values(): IterableIterator<Value> {
    return this.map.values();
  }
}
