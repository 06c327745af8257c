// The search over everything: each word has to occur in what is known of a row. Texts are made once for each row object; a changed row is a new one.

export interface Searchable {
  readonly id: string;
}

export class Query {
  private readonly words: readonly string[];

  constructor(readonly text: string) {
    this.words = text
      .toLowerCase()
      .split(/\s+/)
      .filter((word) => word !== '');
  }

  get isEmpty(): boolean {
    return this.words.length === 0;
  }

  matches(row: object): boolean {
    if (this.words.length === 0) return true;
    let text = textOf.get(row);
    if (text === undefined) {
      text = textFrom(row);
      textOf.set(row, text);
    }
    return this.words.every((word) => text.includes(word));
  }
}

const textOf = new WeakMap<object, string>();

/** Everything in a row that is text, and its port. */
function textFrom(row: object): string {
  const parts: string[] = [];
  for (const [key, value] of Object.entries(row)) {
    if (typeof value === 'string') parts.push(value);
    else if (Array.isArray(value)) parts.push(...value.map(String));
    else if (key === 'port') parts.push(`:${value}`);
    else if (key === 'isRelay' && value === true) parts.push('relay');
    else if (key === 'isDraining' && value === true) parts.push('draining');
  }
  return parts.join('\n').toLowerCase();
}
