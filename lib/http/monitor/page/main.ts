// The monitor page: puts its parts together, and draws at most once for each frame, and not while nobody looks.

import type { TableName } from '../snapshot.js';
import { certificateState } from './certificates.js';
import { Details } from './details.js';
import { byId, element, setAttribute, setText } from './dom.js';
import { EventList } from './events.js';
import { count, plural } from './format.js';
import { followLive, type LiveState } from './live.js';
import { TopologyView } from './map/topology.js';
import { Query } from './search.js';
import { Store } from './store.js';
import { makeTables } from './tables.js';
import { Tabs } from './tabs.js';
import { startTheme } from './theme.js';
import { TotalsStrip } from './totals.js';

const SEARCH_DELAY_MS = 120;
/** Certificates that the alert names. */
const NAMED = 3;
const STATE_TEXTS: Record<LiveState, string> = {
  waiting: 'Connecting',
  live: 'Live',
  lost: 'Connection lost, trying again',
  full: 'Too many pages are open, trying again',
};

// A token that was not needed must not stay in the address either.
if (location.hash.includes('token=')) history.replaceState(null, '', location.pathname);

startTheme();
const store = new Store();
const details = new Details(store, (nodeId) => topology.select(nodeId));
const open = (nodeId: string): void => details.open(nodeId);
const topology = new TopologyView(store, open);
const tables = makeTables(store, open);
const tabs = new Tabs(tables);
const totals = new TotalsStrip(store);
const events = new EventList(store);
let query = new Query('');

const changed = new Set<TableName>();
let frame: number | undefined;

function drawSoon(names: Iterable<TableName>): void {
  for (const name of names) changed.add(name);
  if (document.visibilityState === 'hidden') return;
  if (frame === undefined) frame = requestAnimationFrame(draw);
}

function draw(): void {
  frame = undefined;
  if (changed.has('nodes') || changed.has('edges')) topology.update();
  for (const { name, table, follows } of tables) {
    if (changed.has(name) || follows.some((other) => changed.has(other))) table.invalidate(changed.has(name));
  }
  countRows();
  tabs.current.table.refresh();
  totals.update(changed);
  events.update();
  details.update();
  drawSelf();
  drawAlert();
  changed.clear();
}

function countRows(): void {
  for (const { name, table } of tables) {
    if (query.isEmpty) tabs.setCount(name, store.totals?.counts[name] ?? 0);
    else if (changed.has(name)) tabs.setCount(name, table.countMatches(query));
  }
}

function drawSelf(): void {
  const { id, name, state } = store.self;
  const text = `${name === '' ? '' : `${name} · `}${id}${state === 'open' ? '' : ` · ${state}`}`;
  setText(byId('self'), text);
  byId('self').classList.toggle('warn', state !== 'open');
  document.title = `${name || id} · Starlane monitor`;
}

function drawAlert(): void {
  const expired: string[] = [];
  const expiring: string[] = [];
  for (const row of store.members.values()) {
    const state = certificateState(row, store.at);
    if (state !== 'valid') (state === 'expired' ? expired : expiring).push(row.name || row.id);
  }
  const alert = byId('alert');
  alert.hidden = expired.length + expiring.length === 0;
  const parts: string[] = [];
  if (expired.length > 0)
    parts.push(`${plural(expired.length, 'certificate has', 'certificates have')} expired: ${some(expired)}.`);
  if (expiring.length > 0) {
    const what = plural(expiring.length, 'certificate has', 'certificates have');
    parts.push(
      `${what} less than a quarter of ${expiring.length === 1 ? 'its' : 'their'} time left: ${some(expiring)}.`,
    );
  }
  const text = parts.join(' ');
  if (alert.dataset['text'] === text) return;
  alert.dataset['text'] = text;
  const button = element('button', { type: 'button' }, 'Show');
  button.addEventListener('click', () => {
    const { table } = tabs.showNamed('members');
    table.choose(1);
    table.focus();
  });
  alert.replaceChildren(`${text} `, button);
}

/** Returns the first of some names. */
function some(names: readonly string[]): string {
  const more = names.length > NAMED ? ` and ${plural(names.length - NAMED, 'other')}` : '';
  return names.slice(0, NAMED).join(', ') + more;
}

function search(text: string): void {
  query = new Query(text);
  let found = 0;
  const counts: string[] = [];
  for (const { name, title, table } of tables) {
    const matching = query.isEmpty ? (store.totals?.counts[name] ?? 0) : table.countMatches(query);
    tabs.setCount(name, matching);
    table.search(query);
    found += matching;
    if (matching > 0) counts.push(`${count(matching)} ${title.toLowerCase()}`);
  }
  topology.search(query);
  events.search(query);
  tabs.current.table.refresh();
  const inEvents = events.countMatches(query);
  if (inEvents > 0) counts.push(plural(inEvents, 'event'));
  setText(byId('found'), query.isEmpty ? '' : found + inEvents === 0 ? 'Nothing found' : `Found ${counts.join(', ')}`);
}

const input = byId<HTMLInputElement>('query');
let searchTimer: ReturnType<typeof setTimeout> | undefined;
input.addEventListener('input', () => {
  clearTimeout(searchTimer);
  searchTimer = setTimeout(() => search(input.value), SEARCH_DELAY_MS);
});

document.addEventListener('keydown', (event) => {
  const { target } = event;
  const isTyping = target instanceof HTMLInputElement || target instanceof HTMLSelectElement;
  if (event.key === '/' && !isTyping && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    input.focus();
    input.select();
  } else if (event.key === 'Escape') {
    if (details.isOpen) details.close();
    else if (target === input && input.value !== '') {
      input.value = '';
      search('');
    }
  }
});

byId('as-table').addEventListener('click', () => tabs.showNamed('nodes').table.focus());
document.addEventListener('visibilitychange', () => drawSoon([]));

// Only a reader with a session can end one.
void fetch('/api/session').then(async (answer) => {
  byId('logout').hidden = !answer.ok || !((await answer.json()) as { isGuarded: boolean }).isGuarded;
});

followLive({
  onAll: (update) => drawSoon(store.applyAll(update)),
  onUpdate: (update) => drawSoon(store.apply(update)),
  onState: (state) => {
    setAttribute(byId('connection'), 'data-state', state);
    setText(byId('connection-text'), STATE_TEXTS[state]);
  },
});
