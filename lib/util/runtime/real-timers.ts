// The timers and queues of Node as they are when the library is loaded. Tests of programs replace the global ones (fake timers of
// jest, vitest, sinon and node:test). Links and sockets, whose other ends are real, would stop with those: 'close' would not come, joins
// would hang, and what was queued meanwhile would be lost.
//
// Everything in lib that waits takes its timers from here, and a spec checks it. They come from node:timers, as jest replaces the globals
// of a test file before the file can load anything.

type Timers = typeof import('node:timers');

const timers: Timers = process.getBuiltinModule('node:timers');

export const setTimeout: typeof globalThis.setTimeout = timers.setTimeout;
export const clearTimeout: typeof globalThis.clearTimeout = timers.clearTimeout;
export const setInterval: typeof globalThis.setInterval = timers.setInterval;
export const clearInterval: typeof globalThis.clearInterval = timers.clearInterval;
export const setImmediate: typeof globalThis.setImmediate = timers.setImmediate;
export const queueMicrotask: typeof globalThis.queueMicrotask = globalThis.queueMicrotask;
export const nextTick: typeof process.nextTick = process.nextTick;
/** Milliseconds since 1970. */
export const dateNow: typeof Date.now = Date.now;

let readClock: (() => number) | undefined;

/** Returns milliseconds since any fixed moment, monotonic, with fractions. Loads node:perf_hooks at its first use, as the global does. */
export function performanceNow(): number {
  readClock ??= realClock();
  return readClock();
}

function realClock(): () => number {
  const { performance: clock } = process.getBuiltinModule('node:perf_hooks');
  // Not that of the object, which may be replaced.
  return (Object.getPrototypeOf(clock) as typeof clock).now.bind(clock);
}
