/** The first argument of the next `event`. Unlike `once` of node:events, it does not fail with an 'error' before that. */
export function emitted<T = unknown>(
  emitter: { once(event: string, listener: (value: T) => void): unknown },
  event: string,
): Promise<T> {
  return new Promise((resolve) => emitter.once(event, resolve));
}
