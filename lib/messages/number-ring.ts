// What is on its way in a session, by its number. A Map would do the same, but each time it throws its deleted entries out, the old table
// keeps the new one alive until both are old: everything that was ever in it ends among the long-lived objects of the garbage collector.

/** More than may be on their way, so that few are further behind. */
const SLOTS = 2_048;

export class NumberRing<Item extends { readonly number: number }> {
  private readonly slots: Array<Item | undefined> = [];
  /** Those whose slot was needed for a later one. */
  private readonly stragglers = new Map<number, Item>();
  private count = 0;

  get size(): number {
    return this.count;
  }

  /** Adds an item. Numbers grow, and begin again behind 2^32. */
  add(item: Item): void {
    const { slots } = this;
    const slot = item.number % SLOTS;
    // No holes: an array with holes is a slow one.
    while (slots.length <= slot) slots.push(undefined);
    const before = slots[slot];
    if (before !== undefined) this.stragglers.set(before.number, before);
    slots[slot] = item;
    this.count++;
  }

  get(number: number): Item | undefined {
    const item = this.slots[number % SLOTS];
    if (item?.number === number) return item;
    return this.stragglers.size === 0 ? undefined : this.stragglers.get(number);
  }

  has(number: number): boolean {
    return this.get(number) !== undefined;
  }

  delete(number: number): void {
    const slot = number % SLOTS;
    if (this.slots[slot]?.number === number) this.slots[slot] = undefined;
    else if (!this.stragglers.delete(number)) return;
    this.count--;
  }

  clear(): void {
    this.slots.length = 0;
    this.stragglers.clear();
    this.count = 0;
  }

  /** Returns the items by their numbers, the one that comes next after `next` first. */
  inOrder(next: number): Item[] {
    const items = [...this.stragglers.values()];
    for (const item of this.slots) if (item !== undefined) items.push(item);
    return items.sort((a, b) => ((next - b.number) >>> 0) - ((next - a.number) >>> 0));
  }
}
