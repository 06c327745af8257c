// What a query asks for besides its resource: the parameters behind the question mark, checked.

import { isNodeId } from '../../address.js';

const DEFAULT_LIMIT = 1_000;
const MAX_LIMIT = 20_000;
/** Values of one parameter. */
const MAX_VALUES = 16;
const MAX_CURSOR_CHARACTERS = 2_048;

/** Refuses a request. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

/** Returns the refusal of wrong parameters. */
export function wrong(what: string): Refusal {
  return new Refusal(400, 'ERR_STARLANE_ARGUMENT', what);
}

export class Parameters {
  constructor(private readonly search: URLSearchParams) {}

  /** @throws Refusal when there are others than these, or than those that begin with one of `prefixes`: what is misspelt would match all */
  checkNames(names: ReadonlySet<string>, prefixes: readonly string[] = []): void {
    for (const name of this.search.keys()) {
      if (names.has(name) || prefixes.some((prefix) => name.startsWith(prefix) && name.length > prefix.length))
        continue;
      throw wrong(`${name.slice(0, 64)} is no parameter of this resource`);
    }
  }

  text(name: string): string | undefined {
    return this.search.get(name) ?? undefined;
  }

  /** Returns all values of a parameter, which may be given several times; undefined without it. */
  texts(name: string): readonly string[] | undefined {
    const values = this.search.getAll(name);
    if (values.length > MAX_VALUES) throw wrong(`${name} must be given ${MAX_VALUES} times at most`);
    return values.length === 0 ? undefined : values;
  }

  /** Returns the names of parameters that begin with `prefix`, without it. */
  namesBehind(prefix: string): readonly string[] {
    const names = [...this.search.keys()].filter((name) => name.startsWith(prefix));
    return [...new Set(names)].map((name) => name.slice(prefix.length));
  }

  isSet(name: string): boolean {
    return this.flag(name) === true;
  }

  /** Returns undefined without the parameter. */
  flag(name: string): boolean | undefined {
    const value = this.search.get(name);
    if (value === null) return undefined;
    if (value === 'false') return false;
    if (value === 'true' || value === '') return true;
    throw wrong(`${name} must be true or false`);
  }

  integer(name: string, normal: number, min: number, max: number): number {
    const value = this.search.get(name);
    if (value === null) return normal;
    const number = Number(value);
    if (/^\d+$/.test(value) && number >= min && number <= max) return number;
    throw wrong(`${name} must be an integer from ${min} to ${max}`);
  }

  nodeId(name: string): string | undefined {
    const value = this.text(name);
    if (value === undefined || isNodeId(value)) return value;
    throw wrong(`${name} must be the id of a node`);
  }

  get limit(): number {
    return this.integer('limit', DEFAULT_LIMIT, 1, MAX_LIMIT);
  }

  /** The place behind which a list goes on: what `next` of the answer before it said. */
  get after(): string | undefined {
    const cursor = this.text('after');
    if (cursor === undefined) return undefined;
    if (!/^[\w-]+$/.test(cursor) || cursor.length > MAX_CURSOR_CHARACTERS)
      throw wrong('after must be the next of an answer');
    return Buffer.from(cursor, 'base64url').toString();
  }
}
