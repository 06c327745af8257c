const UNCHANGED_TRIPS = 20;

/** Resolved with `value()` when it has not changed during many round trips that overtake all other data in flight. */
export async function standstill(value: () => number, roundTrip: () => Promise<unknown>): Promise<number> {
  let last = value();
  for (let unchanged = 0; unchanged < UNCHANGED_TRIPS; unchanged++) {
    await roundTrip();
    if (value() !== last) unchanged = 0;
    last = value();
  }
  return last;
}
