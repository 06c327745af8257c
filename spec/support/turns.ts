// Turns of the event loop, for specs that let a session do what it does at the end of one.

/** What is due in this turn of the event loop is done, and what that leaves for the end of the turn. */
export function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(() => setImmediate(resolve));
  });
}

/** Turns until `done` says so; fails when it never does within `limit` turns. */
export async function turnsUntil(what: string, done: () => boolean, limit = 200_000): Promise<void> {
  for (let turns = 0; !done(); turns++) {
    if (turns === limit) throw new Error(`not within ${limit} turns: ${what}`);
    await turn();
  }
}
