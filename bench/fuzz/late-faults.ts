// What is thrown in a tick of its own, as the library does with what handlers throw, and what nobody catches at all.

type Tick = typeof process.nextTick;

/** Runs `action`, and gives `onFault` what would have ended the process meanwhile. */
export async function withLateFaults<T>(onFault: (error: Error) => void, action: () => Promise<T>): Promise<T> {
  const nextTick: Tick = process.nextTick;
  // A test runner hears of what is thrown in a tick before any listener of the process does.
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
