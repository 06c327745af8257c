// The table of cases over some carriers.

import { afterAll, beforeAll, describe, it } from '@jest/globals';
import { nothingLeft, watchHandles } from '../support/open-handles.js';
import { type Carrier, type CarrierKind, DIAL_TIMEOUT_MS } from './carriers.js';
import { TOPICS } from './topics.js';
import { type Topic, Trial } from './trial.js';

/** Runs every case over each of these carriers. */
export function describeParity(kinds: readonly CarrierKind[]): void {
  for (const kind of kinds) {
    describe(`over ${kind.name}`, () => {
      const topics = TOPICS.filter(({ without }) => without?.includes(kind.name) !== true);
      for (const [dialTimeoutMs, some] of byDialTimeout(topics)) overCarrier(kind, dialTimeoutMs, some);
    });
  }
}

function byDialTimeout(topics: readonly Topic[]): Map<number, Topic[]> {
  const found = new Map<number, Topic[]>();
  for (const topic of topics) {
    const { dialTimeoutMs = DIAL_TIMEOUT_MS } = topic;
    found.set(dialTimeoutMs, [...(found.get(dialTimeoutMs) ?? []), topic]);
  }
  return found;
}

function overCarrier(kind: CarrierKind, dialTimeoutMs: number, topics: readonly Topic[]): void {
  describe(`that waits for names for ${dialTimeoutMs} ms`, () => {
    let carrier: Carrier;

    beforeAll(async () => {
      watchHandles();
      carrier = await kind.open(dialTimeoutMs);
    });

    afterAll(async () => {
      await carrier.close();
      // Node itself leaves the handle of a connect that throws to the collector.
      if (carrier.isOverlay) await nothingLeft();
    });

    for (const topic of topics) {
      describe(topic.name, () => {
        for (const { title, run } of topic.cases) {
          it(title, async () => {
            const trial = new Trial(carrier, kind);
            try {
              await run(carrier, trial);
            } catch (error) {
              await trial.close().catch(() => {}); // The first error counts.
              throw error;
            }
            await trial.close();
          });
        }
      });
    }
  });
}
