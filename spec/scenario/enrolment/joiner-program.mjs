// Joiners in a separate process, which may die at any step and begin again. Each says in a line how it ended.

import { crashAfter } from './crash-points.mjs';

/** Between two attempts, when an issuer is down. */
const RETRY_MS = 50;

/**
 * @param {any} members the library
 * @param {{ joiners: { folder: string, token: string }[], crash: number | null }} options
 * @param {(line: object) => void} say
 */
export async function join(members, { joiners, crash }, say) {
  if (crash !== null) crashAfter(crash);
  await Promise.all(joiners.map((joiner) => one(members, joiner, say)));
  say({ event: 'done' });
}

async function one(members, { folder, token }, say) {
  for (;;) {
    try {
      const { id } = await members.enrol(token, { credentials: folder });
      say({ event: 'settled', folder, id });
      return;
    } catch (error) {
      // It died between its last step and the line about it.
      const isThere = error.code === 'ERR_STARLANE_CREDENTIALS' && error.message.endsWith('is not overwritten');
      if (isThere || error.code === 'ERR_STARLANE_TOKEN_USED') {
        say({ event: 'settled', folder, code: error.code });
        return;
      }
      say({ event: 'failed', folder, code: error.code, message: error.message });
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}
