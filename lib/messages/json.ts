// Values of users as JSON.

import { starlaneError } from '../errors.js';

/** @throws ERR_STARLANE_ARGUMENT for what JSON has no words for: functions, symbols, circular objects, bigints */
export function jsonOf(value: unknown): string {
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch (error) {
    throw starlaneError('ERR_STARLANE_ARGUMENT', 'the data cannot be written as JSON', error);
  }
  if (text === undefined) throw starlaneError('ERR_STARLANE_ARGUMENT', `a ${typeof value} cannot be written as JSON`);
  return text;
}
