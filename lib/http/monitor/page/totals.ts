// The strip of numbers at the top: how much there is, and the traffic of this node.

import type { TableName } from '../snapshot.js';
import { byId, element, setText } from './dom.js';
import { bytes, count, duration, plural, rate } from './format.js';
import { Sparkline } from './sparkline.js';
import type { Store } from './store.js';

interface Figure {
  readonly value: HTMLElement;
  readonly note: HTMLElement;
}

export class TotalsStrip {
  private readonly figures = new Map<string, Figure>();
  private readonly line: Sparkline;
  private reached = 0;
  private names = 0;

  constructor(private readonly store: Store) {
    const list = byId('totals');
    for (const title of ['Nodes', 'Services', 'Links', 'Streams', 'Relayed', 'Traffic']) {
      const value = element('span', { class: 'value' });
      const note = element('span', { class: 'note' });
      this.figures.set(title, { value, note });
      list.append(
        element('div', { class: title.toLowerCase() }, element('dt', {}, title), element('dd', {}, value, note)),
      );
    }
    const box = element('span', { class: 'spark' });
    list.lastElementChild?.lastElementChild?.append(box);
    this.line = new Sparkline(
      box,
      [
        ['in', '--in'],
        ['out', '--out'],
      ],
      150,
      34,
    );
  }

  update(changed: ReadonlySet<TableName>): void {
    const { store } = this;
    const { totals, self, traffic } = store;
    if (totals === undefined) return;
    const { counts } = totals;
    if (changed.has('nodes')) this.reached = [...store.nodes.values()].filter(({ hops }) => hops >= 0).length;
    if (changed.has('services')) this.names = new Set([...store.services.values()].map(({ service }) => service)).size;
    const { reached, names } = this;
    this.set('Nodes', count(counts.nodes), reached === store.nodes.size ? 'all reached' : `${count(reached)} reached`);
    this.set('Services', count(names), plural(counts.services, 'instance'));
    this.set('Links', count(totals.links), `up for ${duration(self.uptimeMs)}`);
    this.set(
      'Streams',
      count(totals.streams),
      totals.warnings === 0 ? 'no warnings' : plural(totals.warnings, 'warning'),
    );
    this.set(
      'Relayed',
      count(totals.relayed),
      totals.relayHeldBytes === 0 ? 'nothing held' : `${bytes(totals.relayHeldBytes)} held`,
    );
    this.set('Traffic', rate(traffic.last('in')), `in · out ${rate(traffic.last('out'))}`);
    this.line.draw(traffic);
  }

  private set(title: string, value: string, note: string): void {
    const figure = this.figures.get(title) as Figure;
    setText(figure.value, value);
    setText(figure.note, note);
  }
}
