// Patterns by their tokens, so that the ones that fit a topic are found in time that grows with its tokens, not with the number of patterns.

interface Branch<Value> {
  /** Under literal tokens; undefined until there is one. */
  next: Map<string, Branch<Value>> | undefined;
  /** Under `*`. */
  any: Branch<Value> | undefined;
  /** Of the patterns that end here. */
  here: Set<Value> | undefined;
  /** Of the patterns that end with `>` here. */
  rest: Set<Value> | undefined;
}

export class PatternTrie<Value> {
  private readonly root: Branch<Value> = emptyBranch();
  private count = 0;

  /** The number of values. */
  get size(): number {
    return this.count;
  }

  add(pattern: string, value: Value): void {
    let branch = this.root;
    for (const token of pattern.split('.')) {
      if (token === '>') {
        branch.rest ??= new Set();
        if (!branch.rest.has(value)) this.count++;
        branch.rest.add(value);
        return;
      }
      branch = token === '*' ? anyOf(branch) : nextOf(branch, token);
    }
    branch.here ??= new Set();
    if (!branch.here.has(value)) this.count++;
    branch.here.add(value);
  }

  delete(pattern: string, value: Value): void {
    this.remove(this.root, pattern.split('.'), 0, value);
  }

  /** Returns the values of all patterns that a topic fits. */
  match(topic: string): Value[] {
    const found: Value[] = [];
    collect(this.root, topic.split('.'), 0, found);
    return found;
  }

  /** Removes a value below a branch. Returns whether nothing is left of the branch. */
  private remove(branch: Branch<Value>, tokens: readonly string[], at: number, value: Value): boolean {
    const token = tokens[at];
    if (at === tokens.length) {
      if (branch.here?.delete(value)) this.count--;
      if (branch.here?.size === 0) branch.here = undefined;
    } else if (token === '>') {
      if (branch.rest?.delete(value)) this.count--;
      if (branch.rest?.size === 0) branch.rest = undefined;
    } else if (token === '*') {
      if (branch.any !== undefined && this.remove(branch.any, tokens, at + 1, value)) branch.any = undefined;
    } else {
      const next = branch.next?.get(token);
      if (next !== undefined && this.remove(next, tokens, at + 1, value)) {
        branch.next?.delete(token);
        if (branch.next?.size === 0) branch.next = undefined;
      }
    }
    return (
      branch.here === undefined && branch.rest === undefined && branch.any === undefined && branch.next === undefined
    );
  }
}

function emptyBranch<Value>(): Branch<Value> {
  return { next: undefined, any: undefined, here: undefined, rest: undefined };
}

function anyOf<Value>(branch: Branch<Value>): Branch<Value> {
  branch.any ??= emptyBranch();
  return branch.any;
}

function nextOf<Value>(branch: Branch<Value>, token: string): Branch<Value> {
  branch.next ??= new Map();
  let next = branch.next.get(token);
  if (next === undefined) {
    next = emptyBranch();
    branch.next.set(token, next);
  }
  return next;
}

/** A topic of n tokens visits at most 2^n branches, as many as there are; patterns in the directory are bounded. */
function collect<Value>(branch: Branch<Value>, tokens: readonly string[], at: number, found: Value[]): void {
  if (at === tokens.length) {
    if (branch.here !== undefined) for (const value of branch.here) found.push(value);
    return;
  }
  if (branch.rest !== undefined) for (const value of branch.rest) found.push(value);
  const next = branch.next?.get(tokens[at]);
  if (next !== undefined) collect(next, tokens, at + 1, found);
  if (branch.any !== undefined) collect(branch.any, tokens, at + 1, found);
}
