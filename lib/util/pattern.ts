// Patterns of names, as rules and rights have them. Pure.

/** A text in which `*` matches any run of characters, also an empty one. No other character is special; case matters. */
export class Pattern {
  private readonly first: string;
  private readonly middle: readonly string[];
  /** Undefined without a `*`. */
  private readonly last: string | undefined;

  constructor(text: string) {
    const parts = text.split('*');
    this.first = parts[0];
    this.last = parts.length === 1 ? undefined : parts[parts.length - 1];
    this.middle = parts.slice(1, -1).filter((part) => part !== '');
  }

  /** Returns whether the text matches. The leftmost match of each part leaves the most for the next ones, so there is no backtracking. */
  fits(text: string): boolean {
    const { first, middle, last } = this;
    if (last === undefined) return text === first;
    if (!text.startsWith(first) || !text.endsWith(last)) return false;
    let at = first.length;
    for (const part of middle) {
      const found = text.indexOf(part, at);
      if (found < 0) return false;
      at = found + part.length;
    }
    return at + last.length <= text.length;
  }
}
