// Sends a journal to a caller: `?from=POSITION` (default the oldest byte), `?tail=BYTES` (the last lines), and `?follow=true` for what comes
// later. The header names the position of the first byte; so a caller whose circuit broke goes on behind the last byte that it has.

import { once } from 'node:events';
import { starlaneError } from '../../errors.js';
import type { Journal } from './journal.js';
import type { Call } from './routes.js';

export const POSITION_HEADER = 'starlane-position';
const PIECE_BYTES = 64 * 1024;

/** Ends with the last byte; when the caller follows, with the signal or when the caller is too slow. */
export async function sendJournal(
  { query, response, signal }: Pick<Call, 'query' | 'response' | 'signal'>,
  journal: Journal,
): Promise<void> {
  const follows = query.get('follow') === 'true';
  let from = await firstOf(query, journal);
  response.writeHead(200, { 'content-type': 'application/octet-stream', [POSITION_HEADER]: String(from) });
  response.flushHeaders();
  let wake: () => void = () => {};
  const release = journal.onAppend(() => wake());
  const onAbort = () => wake();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    while (!signal.aborted) {
      const more = new Promise<void>((resolve) => {
        wake = resolve;
      });
      const bytes = await journal.read(from, PIECE_BYTES);
      // It was too slow, and what it has not got is gone: it hears so when it asks again.
      if (bytes === undefined) break;
      from += bytes.length;
      if (bytes.length > 0) {
        if (!response.write(bytes)) await once(response, 'drain', { signal });
      } else if (!follows) {
        response.end();
        return;
      } else await more;
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    release();
    signal.removeEventListener('abort', onAbort);
  }
  response.destroy();
}

async function firstOf(query: URLSearchParams, journal: Journal): Promise<number> {
  const tail = query.get('tail');
  if (tail !== null) return journal.lastLines(numberOf('tail', tail));
  const from = query.get('from');
  if (from === null) return journal.start;
  const wanted = numberOf('from', from);
  if (wanted > journal.end)
    throw starlaneError('ERR_STARLANE_ARGUMENT', `from must be at most ${journal.end}, the end of what there is`);
  return journal.keptFrom(wanted);
}

function numberOf(name: string, text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw starlaneError('ERR_STARLANE_ARGUMENT', `${name} must be a number of bytes`);
}
