// A queue: taking the first item moves no others, and a taken item is let go at once.

/** Taken items leave the array when there are more of them than this, and more than items that wait. */
const MAX_GAPS = 1_024;

/** A queue of items, none of which is undefined. */
export class Fifo<Item> {
  private items: Array<Item | undefined> = [];
  /** Where the first item is. */
  private head = 0;

  get size(): number {
    return this.items.length - this.head;
  }

  push(item: Item): void {
    this.items.push(item);
  }

  /** Returns the first item without taking it; undefined when there is none. */
  peek(): Item | undefined {
    return this.items[this.head];
  }

  /** Takes the first item; undefined when there is none. */
  shift(): Item | undefined {
    const { items } = this;
    if (this.head === items.length) return undefined;
    const item = items[this.head];
    items[this.head++] = undefined;
    if (this.head === items.length) {
      this.items = [];
      this.head = 0;
    } else if (this.head > MAX_GAPS && 2 * this.head > items.length) {
      items.splice(0, this.head);
      this.head = 0;
    }
    return item;
  }

  /** Takes all items, the first one first. */
  takeAll(): Item[] {
    const items = this.items.slice(this.head) as Item[];
    this.items = [];
    this.head = 0;
    return items;
  }
}
