// A fault of a handler is raised again in a tick of its own, where it would end the run. This catches it there.

import { afterEach, beforeEach, jest } from '@jest/globals';

/** For the specs of a describe block: the errors that the library raised by `process.nextTick`. */
export function catchErrorsOfTicks(): Error[] {
  const caught: Error[] = [];
  let spy: { mockRestore(): void };
  beforeEach(() => {
    caught.length = 0;
    const nextTick = process.nextTick.bind(process);
    spy = jest.spyOn(process, 'nextTick').mockImplementation((fn: (...args: never[]) => void, ...args: unknown[]) => {
      nextTick(() => {
        try {
          fn(...(args as never[]));
        } catch (error) {
          caught.push(error as Error);
        }
      });
    });
  });
  afterEach(() => spy.mockRestore());
  return caught;
}
