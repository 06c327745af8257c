// A fault of a handler is raised again in a tick of its own, where it would end the run. This catches it there.

import { afterEach, beforeEach, jest } from '@jest/globals';

/** For the specs of a describe block: the errors that the library raised by `process.nextTick`. */
export function catchErrorsOfTicks(): Error[] {
  const caught: Error[] = [];
  let spy: { mockRestore(): void };
  beforeEach(() => {
    caught.length = 0;
    const nextTick = process.nextTick.bind(process);
    const catching = (fn: (...args: unknown[]) => void, ...args: unknown[]): void => {
      nextTick(() => {
        try {
          fn(...args);
        } catch (error) {
          caught.push(error as Error);
        }
      });
    };
    spy = jest.spyOn(process, 'nextTick').mockImplementation(catching as typeof process.nextTick);
  });
  afterEach(() => spy.mockRestore());
  return caught;
}
