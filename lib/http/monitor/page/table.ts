// A table of any length that has only the rows in sight in the page. It stays a real table: with its number of rows, the index of each, and headings that
// sort. One row at a time is in the order of the Tab key; the arrow keys move to others.

import { element, setAttribute, setText } from './dom.js';
import { count } from './format.js';
import type { Query } from './search.js';

export interface Row {
  readonly id: string;
}

/** What a cell shows besides a text; kept for as long as the row of the page is, whatever it shows. */
export interface Painter<R> {
  paint(row: R): void;
  destroy(): void;
}

export interface Column<R extends Row> {
  readonly title: string;
  /** Columns of class 2 and 3 give way on narrow screens. */
  readonly importance: 1 | 2 | 3;
  readonly isNumber?: boolean;
  readonly isCode?: boolean;
  /** In px, at least; the first column takes what is left. */
  readonly width?: number;
  text(row: R): string;
  /** What to sort by; the text without it. */
  order?(row: R): number | string;
  /** Whether the order changes with other tables than the one of the rows. */
  readonly follows?: boolean;
  /** A class for the cell. */
  tone?(row: R): string;
  /** Makes what draws into the cell, instead of a text. */
  painter?(cell: HTMLElement): Painter<R>;
}

export interface Choice<R> {
  readonly title: string;
  /** Whether it depends on other tables than the one of the rows. */
  readonly follows?: boolean;
  accepts(row: R): boolean;
}

export interface TableSetup<R extends Row> {
  readonly name: string;
  readonly title: string;
  readonly columns: readonly Column<R>[];
  readonly choices: readonly Choice<R>[];
  /** The column to sort by at first, and whether it falls. */
  readonly sorted: readonly [column: number, falls: boolean];
  readonly empty: string;
  rows(): Iterable<R>;
  onOpen(row: R): void;
}

const ROW_PX = 30;
const SPARE_ROWS = 6;
/** What the first column needs. */
const FIRST_PX = 150;

interface Line<R> {
  readonly element: HTMLTableRowElement;
  readonly button: HTMLButtonElement;
  readonly cells: readonly HTMLTableCellElement[];
  readonly painters: readonly (Painter<R> | undefined)[];
}

export class Table<R extends Row> {
  readonly panel: HTMLElement;
  private readonly scroller: HTMLElement;
  private readonly table: HTMLTableElement;
  private readonly body: HTMLTableSectionElement;
  private readonly above: HTMLTableRowElement;
  private readonly below: HTMLTableRowElement;
  private readonly note: HTMLElement;
  private readonly heads: HTMLTableCellElement[] = [];
  private readonly chips: HTMLButtonElement[] = [];
  private lines: Line<R>[] = [];
  private shown: R[] = [];
  private choice = 0;
  private column: number;
  private falls: boolean;
  /** The row in the order of the Tab key. */
  private current = 0;
  private query: Query | undefined;
  private isStale = true;

  constructor(private readonly setup: TableSetup<R>) {
    const { name, title, columns, choices, sorted } = setup;
    [this.column, this.falls] = sorted;
    const head = element('tr', { 'aria-rowindex': 1 });
    for (const [index, column] of columns.entries()) {
      const button = element('button', { type: 'button' }, column.title);
      button.addEventListener('click', () => this.sortBy(index));
      const cell = element('th', { scope: 'col', class: this.classOf(column) }, button);
      if (column.width !== undefined) cell.style.width = `${column.width}px`;
      this.heads.push(cell);
      head.append(cell);
    }
    this.above = spacer();
    this.below = spacer();
    this.body = element('tbody', {}, this.above, this.below);
    this.table = element('table', { 'aria-label': title }, element('thead', {}, head), this.body);
    this.scroller = element(
      'div',
      { class: 'scroller', role: 'region', 'aria-label': `${title}, rows`, tabindex: 0 },
      this.table,
    );
    this.note = element('p', { class: 'note' });
    const filter = element('div', { class: 'chips', role: 'group', 'aria-label': `Filter ${title.toLowerCase()}` });
    if (choices.length > 1) {
      for (const [index, { title: text }] of choices.entries()) {
        const chip = element('button', { type: 'button', 'aria-pressed': index === 0 ? 'true' : 'false' }, text);
        chip.addEventListener('click', () => this.choose(index));
        this.chips.push(chip);
        filter.append(chip);
      }
    }
    this.panel = element(
      'div',
      { class: 'panel', role: 'tabpanel', id: `panel-${name}`, 'aria-labelledby': `tab-${name}`, hidden: true },
      element('div', { class: 'bar' }, filter, this.note),
      this.scroller,
    );
    this.scroller.addEventListener('scroll', () => this.draw(), { passive: true });
    this.body.addEventListener('click', (event) => this.onClick(event));
    this.body.addEventListener('keydown', (event) => this.onKey(event));
    new ResizeObserver(() => {
      this.fitColumns();
      this.draw();
    }).observe(this.scroller);
  }

  /** Rows that match the query, whatever the filter of the table is. */
  countMatches(query: Query): number {
    let found = 0;
    for (const row of this.setup.rows()) if (query.matches(row)) found++;
    return found;
  }

  get isVisible(): boolean {
    return !this.panel.hidden;
  }

  /**
   * Notes that rows have changed, or only other tables that they refer to. They are read again with the next {@link refresh} while the table is visible, if
   * that may change which ones are shown, or their order.
   */
  invalidate(isOwn: boolean): void {
    const { columns, choices } = this.setup;
    if (isOwn || columns[this.column]?.follows === true || choices[this.choice]?.follows === true) this.isStale = true;
  }

  search(query: Query): void {
    this.query = query;
    this.isStale = true;
    this.scroller.scrollTop = 0;
  }

  /** Reads the rows again if they may have changed, and draws. */
  refresh(): void {
    if (!this.isVisible) return;
    if (this.isStale) this.select();
    this.draw();
  }

  choose(index: number): void {
    this.choice = index;
    for (const [at, chip] of this.chips.entries()) setAttribute(chip, 'aria-pressed', at === index ? 'true' : 'false');
    this.isStale = true;
    this.refresh();
  }

  focus(): void {
    this.current = 0;
    this.scroller.scrollTop = 0;
    this.draw();
    (this.lines[0]?.button ?? this.scroller).focus();
  }

  /** Leaves out columns of less importance where there is no room for them; what remains shares the room. */
  private fitColumns(): void {
    const room = this.scroller.clientWidth;
    if (room === 0) return;
    const { columns } = this.setup;
    const needed = (level: number): number =>
      columns.reduce((sum, { importance, width = 0 }) => sum + (importance <= level ? width : 0), FIRST_PX);
    const level = needed(3) <= room ? 3 : needed(2) <= room ? 2 : 1;
    setAttribute(this.table, 'data-level', String(level));
    const scale = Math.min(1, (room - Math.min(FIRST_PX, room / 3)) / Math.max(1, needed(level) - FIRST_PX));
    for (const [index, { width }] of columns.entries()) {
      const head = this.heads[index];
      if (head !== undefined && width !== undefined) head.style.width = `${Math.floor(width * scale)}px`;
    }
  }

  private classOf({ importance, isNumber, isCode }: Column<R>): string {
    return `c${importance}${isNumber === true ? ' number' : ''}${isCode === true ? ' code' : ''}`;
  }

  private sortBy(index: number): void {
    this.falls = this.column === index ? !this.falls : this.setup.columns[index]?.isNumber === true;
    this.column = index;
    this.isStale = true;
    this.refresh();
  }

  private select(): void {
    this.isStale = false;
    const { columns, choices, rows } = this.setup;
    const { query } = this;
    const choice = choices[this.choice];
    const found: { row: R; key: number | string }[] = [];
    const column = columns[this.column] as Column<R>;
    let all = 0;
    for (const row of rows()) {
      all++;
      if ((query === undefined || query.matches(row)) && (choice === undefined || choice.accepts(row))) {
        const key = column.order?.(row) ?? column.text(row);
        found.push({ row, key: typeof key === 'string' ? key.toLowerCase() : key });
      }
    }
    const sign = this.falls ? -1 : 1;
    found.sort((one, other) =>
      one.key < other.key ? -sign : one.key > other.key ? sign : one.row.id < other.row.id ? -1 : 1,
    );
    this.shown = found.map(({ row }) => row);
    this.current = Math.min(this.current, Math.max(0, this.shown.length - 1));
    const shown = this.shown.length;
    setText(this.note, all === 0 ? this.setup.empty : shown === all ? count(all) : `${count(shown)} of ${count(all)}`);
    setAttribute(this.table, 'aria-rowcount', String(shown + 1));
    for (const [index, head] of this.heads.entries()) {
      setAttribute(head, 'aria-sort', index !== this.column ? 'none' : this.falls ? 'descending' : 'ascending');
    }
  }

  private draw(): void {
    if (!this.isVisible) return;
    const height = this.scroller.clientHeight;
    const first = Math.max(0, Math.floor(this.scroller.scrollTop / ROW_PX) - SPARE_ROWS);
    const last = Math.min(this.shown.length, Math.ceil((this.scroller.scrollTop + height) / ROW_PX) + SPARE_ROWS);
    const needed = Math.max(0, last - first);
    while (this.lines.length < needed) this.addLine();
    while (this.lines.length > needed) this.dropLine();
    setHeight(this.above, first * ROW_PX);
    setHeight(this.below, (this.shown.length - last) * ROW_PX);
    for (const [index, line] of this.lines.entries()) this.drawLine(line, first + index);
  }

  private drawLine(line: Line<R>, at: number): void {
    const row = this.shown[at] as R;
    setAttribute(line.element, 'aria-rowindex', String(at + 2));
    line.element.dataset['at'] = String(at);
    setAttribute(line.button, 'tabindex', at === this.current ? '0' : '-1');
    for (const [index, column] of this.setup.columns.entries()) {
      const cell = line.cells[index] as HTMLTableCellElement;
      const painter = line.painters[index];
      if (painter !== undefined) {
        painter.paint(row);
        continue;
      }
      const text = column.text(row);
      const target = index === 0 ? line.button : cell;
      if (target.textContent !== text) {
        target.textContent = text;
        cell.title = text;
      }
      if (column.tone !== undefined) {
        const name = `${this.classOf(column)} ${column.tone(row)}`;
        if (cell.className !== name) cell.className = name;
      }
    }
  }

  private addLine(): void {
    const { columns } = this.setup;
    const button = element('button', { type: 'button', class: 'open', tabindex: -1 });
    const cells = columns.map((column, index) => {
      const cell = element('td', { class: this.classOf(column) });
      if (index === 0) cell.append(button);
      return cell;
    });
    const line = element('tr', {}, ...cells);
    this.body.insertBefore(line, this.below);
    const painters = columns.map((column, index) => column.painter?.(cells[index] as HTMLTableCellElement));
    this.lines.push({ element: line, button, cells, painters });
  }

  private dropLine(): void {
    const line = this.lines.pop() as Line<R>;
    for (const painter of line.painters) painter?.destroy();
    line.element.remove();
  }

  private onClick({ target }: Event): void {
    const at = Number((target as Element).closest('tr')?.dataset['at'] ?? -1);
    const row = this.shown[at];
    if (row === undefined) return;
    this.moveTo(at);
    this.setup.onOpen(row);
  }

  private onKey(event: KeyboardEvent): void {
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / ROW_PX) - 2);
    const steps: Record<string, number> = {
      ArrowDown: 1,
      ArrowUp: -1,
      PageDown: page,
      PageUp: -page,
      Home: -Infinity,
      End: Infinity,
    };
    const step = steps[event.key];
    if (step === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    this.moveTo(Math.min(Math.max(0, this.current + step), this.shown.length - 1));
  }

  /** Moves the focus to a row, and brings it in sight. */
  private moveTo(at: number): void {
    this.current = at;
    const head = this.heads[0]?.offsetHeight ?? 0;
    const room = this.scroller.clientHeight - head;
    const top = at * ROW_PX;
    if (top < this.scroller.scrollTop) this.scroller.scrollTop = top;
    else if (top + ROW_PX > this.scroller.scrollTop + room) this.scroller.scrollTop = top + ROW_PX - room;
    this.draw();
    this.lines.find(({ element: line }) => line.dataset['at'] === String(at))?.button.focus({ preventScroll: true });
  }
}

/** Of one cell: one that spans columns would make room for those that are left out. */
function spacer(): HTMLTableRowElement {
  return element('tr', { class: 'spacer', 'aria-hidden': 'true' }, element('td'));
}

function setHeight(row: HTMLTableRowElement, px: number): void {
  const cell = row.cells[0] as HTMLTableCellElement;
  const value = `${px}px`;
  if (cell.style.height !== value) cell.style.height = value;
  row.hidden = px === 0;
}
