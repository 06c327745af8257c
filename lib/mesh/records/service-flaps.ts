// Services that come and go all the time: the rest of the network is spared that, they are withheld for a while. Pure.

import { RecentMap } from '../../util/recent-map.js';

const WINDOW_MS = 60_000;
const MAX_RETURNS = 6;
const WITHHOLD_MS = 60_000;
/** How many names are watched, the last ones bound. */
const MAX_WATCHED = 4_096;

export class ServiceFlaps {
  /** When each one came, in the last minute. */
  private readonly comings = new RecentMap<string, number[]>(MAX_WATCHED);

  /** A service is bound. Says until when it is to be withheld; 0: it need not be. */
  onBind(key: string, now: number): number {
    const recent = (this.comings.peek(key) ?? []).filter((at) => now - at < WINDOW_MS);
    recent.push(now);
    // The first coming is no return.
    const isTooMuch = recent.length > MAX_RETURNS + 1;
    if (isTooMuch) recent.shift();
    this.comings.set(key, recent);
    return isTooMuch ? now + WITHHOLD_MS : 0;
  }
}
