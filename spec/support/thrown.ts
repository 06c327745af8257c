// What a call throws, for specs about hostile input: nothing but errors with a code may come out.

import { StarlaneError } from '../../lib/errors.js';

/** The code of the StarlaneError that `action` throws, or undefined when it throws nothing. Any other error is thrown on. */
export function thrownCode(action: () => unknown): string | undefined {
  try {
    action();
  } catch (error) {
    if (error instanceof StarlaneError) return error.code;
    throw error;
  }
  return undefined;
}
