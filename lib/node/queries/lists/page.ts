// One page of a long list: the first entries behind a cursor, in an order that does not change while entries come and go.

/** A list that may be cut at `?limit=`. */
export interface Page<Entry> {
  readonly entries: readonly Entry[];
  /** Of all pages. */
  readonly total: number;
  /** Whether there are more behind it. */
  readonly truncated: boolean;
  /** The cursor behind the last entry, if there are more. */
  readonly next: string | undefined;
}

interface Keyed<Entry> {
  readonly key: string;
  readonly entry: Entry;
}

/** Collects a page without sorting all entries: it holds a few times as many as the page. */
export class PageBuilder<Entry> {
  private found: Keyed<Entry>[] = [];
  private total = 0;
  /** Entries behind the cursor. */
  private behind = 0;
  /** The last key of a full page: what comes after it is not on the page. */
  private last: string | undefined;

  /** @param after the key of the last entry of the page before; undefined for the first page */
  constructor(
    private readonly limit: number,
    private readonly after: string | undefined,
  ) {}

  /** @param key unique, and its order is that of the list */
  add(key: string, entry: Entry): void {
    this.total++;
    if (this.after !== undefined && key <= this.after) return;
    this.behind++;
    if (this.last !== undefined && key > this.last) return;
    this.found.push({ key, entry });
    if (this.found.length >= 4 * this.limit) this.cut();
  }

  build(): Page<Entry> {
    this.cut();
    const { found, total, behind } = this;
    const truncated = behind > found.length;
    const last = found.at(-1)?.key;
    return {
      entries: found.map(({ entry }) => entry),
      total,
      truncated,
      next: truncated && last !== undefined ? Buffer.from(last).toString('base64url') : undefined,
    };
  }

  private cut(): void {
    this.found.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
    this.found = this.found.slice(0, this.limit);
    if (this.found.length === this.limit) this.last = this.found[this.limit - 1].key;
  }
}
