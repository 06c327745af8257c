// Errors that are thrown in a later tick, as the library does with exceptions of handlers, and uncaught errors.

type Tick = typeof process.nextTick;

/** Runs `action`, and passes to `onFault` what would have ended the process meanwhile. */
export async function withLateFaults<T>(onFault: (error: Error) => void, action: () => Promise<T>): Promise<T> {
  const nextTick: Tick = process.nextTick;
  // A test runner gets what is thrown in a tick before any listener of the process does.
  process.nextTick = (callback: (...args: unknown[]) => void, ...args: unknown[]): void => {
    nextTick(() => {
      try {
        callback(...args);
      } catch (error) {
        onFault(error as Error);
      }
    });
  };
  process.on('uncaughtException', onFault);
  try {
    return await action();
  } finally {
    process.removeListener('uncaughtException', onFault);
    process.nextTick = nextTick;
  }
}
