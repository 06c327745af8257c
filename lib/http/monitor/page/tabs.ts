// The tabs over the tables, as the pattern of WAI-ARIA has them: arrow keys change the tab, Tab goes into the table.

import { byId, element, setText } from './dom.js';
import { count } from './format.js';
import type { NamedTable } from './tables.js';

interface Tab {
  readonly button: HTMLButtonElement;
  readonly badge: HTMLElement;
  readonly table: NamedTable;
}

export class Tabs {
  private readonly tabs: Tab[] = [];
  private active = 0;

  constructor(tables: readonly NamedTable[]) {
    const list = byId('tabs');
    const panels = byId('panels');
    for (const [index, table] of tables.entries()) {
      const badge = element('span', { class: 'badge' });
      const button = element(
        'button',
        { type: 'button', role: 'tab', id: `tab-${table.name}`, 'aria-controls': `panel-${table.name}` },
        `${table.title} `,
        badge,
      );
      button.addEventListener('click', () => this.show(index));
      list.append(button);
      panels.append(table.table.panel);
      this.tabs.push({ button, badge, table });
    }
    list.addEventListener('keydown', (event) => this.onKey(event));
    this.show(0);
  }

  get current(): NamedTable {
    return (this.tabs[this.active] as Tab).table;
  }

  show(index: number): void {
    this.active = index;
    for (const [at, { button, table }] of this.tabs.entries()) {
      const isActive = at === index;
      button.setAttribute('aria-selected', String(isActive));
      button.tabIndex = isActive ? 0 : -1;
      table.table.panel.hidden = !isActive;
    }
    this.current.table.refresh();
  }

  showNamed(name: string): NamedTable {
    this.show(this.tabs.findIndex(({ table }) => table.name === name));
    return this.current;
  }

  /** Shows how many rows a table has; with a search, how many of them match. */
  setCount(name: string, matching: number): void {
    const tab = this.tabs.find(({ table }) => table.name === name);
    if (tab === undefined) return;
    setText(tab.badge, count(matching));
    tab.button.classList.toggle('empty', matching === 0);
  }

  private onKey(event: KeyboardEvent): void {
    const last = this.tabs.length - 1;
    const { active } = this;
    const targets: Record<string, number> = {
      ArrowRight: active === last ? 0 : active + 1,
      ArrowLeft: active === 0 ? last : active - 1,
      Home: 0,
      End: last,
    };
    const target = targets[event.key];
    if (target === undefined) return;
    event.preventDefault();
    this.show(target);
    this.tabs[target]?.button.focus();
  }
}
