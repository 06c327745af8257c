// The live stream of the server. The browser connects again by itself; when the server refuses, the page asks why.

import type { FullUpdate, Update } from '../snapshot.js';

export type LiveState = 'waiting' | 'live' | 'lost' | 'full';

export interface LiveTarget {
  onAll(update: FullUpdate): void;
  onUpdate(update: Update): void;
  onState(state: LiveState): void;
}

const RETRY_MS = 5_000;
/** Updates come each second. */
const SILENCE_MS = 5_000;

export function followLive(target: LiveTarget): void {
  let source: EventSource | undefined;
  let heardAt = Date.now();

  const open = (): void => {
    source = new EventSource('/api/live');
    const heard = (): void => {
      heardAt = Date.now();
      target.onState('live');
    };
    source.addEventListener('snapshot', ({ data }) => {
      heard();
      target.onAll(JSON.parse(data));
    });
    source.addEventListener('update', ({ data }) => {
      heard();
      target.onUpdate(JSON.parse(data));
    });
    source.addEventListener('error', () => {
      target.onState('lost');
      if (source?.readyState === EventSource.CLOSED) void askWhy();
    });
  };

  const askWhy = async (): Promise<void> => {
    try {
      const { status } = await fetch('/api/live', { method: 'HEAD' });
      if (status === 401) {
        location.assign('/login');
        return;
      }
      if (status === 503) target.onState('full');
    } catch {
      // The server is gone.
    }
    setTimeout(open, RETRY_MS);
  };

  setInterval(() => {
    if (Date.now() - heardAt > SILENCE_MS) target.onState('lost');
  }, 1_000);
  open();
}
