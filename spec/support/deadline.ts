/** Specs wait for events, never by the clock; the clock only bounds how long a wait may take. */
export const DEADLINE_MS = 20_000;

/** The outcome of `wait`, or an error that says what did not happen in time. */
export async function within<T>(what: string, wait: Promise<T>, deadlineMs = DEADLINE_MS): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${deadlineMs} ms: ${what}`)), deadlineMs);
  });
  try {
    return await Promise.race([wait, late]);
  } finally {
    clearTimeout(timer);
  }
}
