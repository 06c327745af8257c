// What a sender that starts again, with the same identity, sends once more: the messages with a key of which the process before it did
// not learn the outcome. That is what a program does that keeps its messages in a database until they are handled.

import type { ProcessEvent, SendEvent } from '../events.js';
import { processFile, readEvents } from '../journal.js';
import type { Start } from './protocol.js';
import type { Operation } from './traffic.js';

const MOST = 20;
const LENGTH = 60;

export function openKeys({ folder, before }: Start): Operation[] {
  const open = new Map<string, SendEvent>();
  for (const process of before) {
    for (const event of readEvents<ProcessEvent>(processFile(folder, process))) {
      if (event.e === 'send' && event.key !== undefined && !event.idempotent) open.set(event.key, event);
      if (event.e !== 'outcome' || event.outcome === 'unknown') continue;
      for (const [key, { u }] of open) if (u === event.u) open.delete(key);
    }
  }
  return [...open.values()].slice(-MOST).map(({ kind, to, key, at }) => ({
    kind,
    // A node id may be gone since; the key belongs to the inbox of the node.
    to: to.startsWith('@') ? `@${at[0]}` : to,
    form: 'bytes',
    body: 'small',
    length: LENGTH,
    timeoutMs: 8_000,
    key,
  }));
}
