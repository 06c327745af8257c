// The log of events, newest first, and what a screen reader hears of it: one sentence now and then, not every event.

import type { EventRow } from '../snapshot.js';
import { byId, element, setText } from './dom.js';
import { plural, timeOfDay } from './format.js';
import type { Query } from './search.js';
import type { Store } from './store.js';

/** Events in the page; the search looks at all that are known. */
const SHOWN = 250;
const ANNOUNCE_MS = 4_000;

export class EventList {
  private readonly list = byId<HTMLOListElement>('events');
  private readonly badOnly = byId<HTMLInputElement>('bad-only');
  private query: Query | undefined;
  private first: EventRow | undefined;
  private announcedId = 0;
  private announcedAt = Number.NEGATIVE_INFINITY;

  constructor(private readonly store: Store) {
    this.badOnly.addEventListener('change', () => this.redraw());
  }

  search(query: Query): void {
    this.query = query;
    this.redraw();
  }

  countMatches(query: Query): number {
    return this.store.events.filter((row) => query.matches(row)).length;
  }

  /** Adds what is new. */
  update(): void {
    const { events, missedEvents } = this.store;
    const lastShown = this.first?.id ?? 0;
    const newest = events.at(-1);
    if (newest === undefined || newest.id < lastShown) {
      this.redraw();
      return;
    }
    if (newest.id !== lastShown) {
      const fresh = events.filter((row) => row.id > lastShown && this.accepts(row)).slice(-SHOWN);
      this.list.prepend(...fresh.reverse().map(itemOf));
      while (this.list.childElementCount > SHOWN) this.list.lastElementChild?.remove();
      this.first = newest;
      this.note();
    }
    this.announce(newest, missedEvents);
  }

  private redraw(): void {
    const rows = this.store.events.filter((row) => this.accepts(row)).slice(-SHOWN);
    this.list.replaceChildren(...rows.reverse().map(itemOf));
    this.first = this.store.events.at(-1);
    this.note();
  }

  private accepts(row: EventRow): boolean {
    return (!this.badOnly.checked || row.level === 'bad') && (this.query === undefined || this.query.matches(row));
  }

  private note(): void {
    const { events, missedEvents } = this.store;
    const missed = missedEvents > 0 ? ` · ${plural(missedEvents, 'other')} left out` : '';
    setText(
      byId('events-note'),
      events.length === 0 ? 'nothing has happened yet' : `${plural(events.length, 'event')}${missed}`,
    );
  }

  private announce(newest: EventRow, missed: number): void {
    if (this.announcedId === 0) {
      // What was there when the page came is not news.
      this.announcedId = newest.id;
      return;
    }
    if (newest.id <= this.announcedId || performance.now() - this.announcedAt < ANNOUNCE_MS) return;
    const more = newest.id - this.announcedId - 1;
    this.announcedId = newest.id;
    this.announcedAt = performance.now();
    const others = more > 0 || missed > 0 ? `, and ${plural(Math.max(more, 1), 'other event')}` : '';
    byId('announce').textContent = `${newest.kind}: ${newest.text}${others}`;
  }
}

function itemOf({ at, kind, level, text }: EventRow): HTMLLIElement {
  const time = element('time', { datetime: new Date(at).toISOString() }, timeOfDay(at));
  return element(
    'li',
    { class: level },
    time,
    element('span', { class: 'kind' }, kind),
    element('span', { class: 'text' }, text),
  );
}
