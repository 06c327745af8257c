// Checks of options, the same for messages, APIs, topics, broadcasts and exports.

import { optionError } from '../errors.js';

/** @throws ERR_STARLANE_OPTION for what is no object, or has options of other names */
export function checkNames(what: string, options: object, names: readonly string[]): void {
  if (typeof options !== 'object' || options === null) throw optionError(what, 'must be an object of options');
  for (const name of Object.keys(options))
    if (!names.includes(name)) throw optionError(name, `unknown option of ${what}`);
}

/** Returns the value, or the default when it is undefined. @throws ERR_STARLANE_OPTION */
export function integer(name: string, value: unknown, least: number, most: number, byDefault: number): number {
  if (value === undefined) return byDefault;
  if (!(Number.isInteger(value) && (value as number) >= least && (value as number) <= most))
    throw optionError(name, `must be an integer from ${least} to ${most}`);
  return value as number;
}
