// What console.log() prints for the objects of users: a few lines about their state, without their internals, which have thousands of
// lines and may contain secrets.

/** util.inspect.custom, as Node documents it for those who do not load node:util. */
export const INSPECT: unique symbol = Symbol.for('nodejs.util.inspect.custom');

/** What util.inspect() passes to a method of that name. */
export interface InspectOptions {
  readonly depth?: number | null;
  stylize?(text: string, style: string): string;
}

export type Inspect = (value: unknown, options: InspectOptions) => string;

/** Entries of a live view that are printed; util.inspect() stops there as well. */
const MAX_ENTRIES = 100;

/**
 * Returns what util.inspect() prints of an object whose class has that name: `Link { peerId: '...', ... }`. Values that are
 * undefined are left out. `depth` (what is left of it), `options` and `inspect` are the arguments of the method {@link INSPECT}.
 */
export function shown(
  name: string,
  values: Readonly<Record<string, unknown>>,
  depth: number | null,
  options: InspectOptions,
  inspect: Inspect,
): string {
  if (depth !== null && depth < 0) return options.stylize?.(`[${name}]`, 'special') ?? `[${name}]`;
  const known = Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
  return `${name} ${inspect(known, { ...options, depth })}`;
}

/** As {@link shown}, for an object that reads like a Map. */
export function shownMap(
  name: string,
  map: Iterable<[string, unknown]> & { readonly size: number },
  depth: number | null,
  options: InspectOptions,
  inspect: Inspect,
): string {
  if (depth !== null && depth < 0) return options.stylize?.(`[${name}]`, 'special') ?? `[${name}]`;
  const first = new Map<string, unknown>();
  for (const [key, value] of map) {
    if (first.size === MAX_ENTRIES) break;
    first.set(key, value);
  }
  const rest = map.size > first.size ? ` and ${map.size - first.size} more` : '';
  return `${name}(${map.size}) ${inspect(Object.fromEntries(first), { ...options, depth })}${rest}`;
}
