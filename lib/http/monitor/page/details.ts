// Everything that is known about one node, beside the page.

import { certificateState } from './certificates.js';
import { byId, element } from './dom.js';
import { bytes, date, duration, ms, plural } from './format.js';
import type { Store } from './store.js';
import { kindOf } from './tables.js';

const LISTED = 100;

export class Details {
  private readonly panel = byId('details');
  private nodeId: string | undefined;
  private opener: HTMLElement | undefined;
  private shown = '';

  constructor(
    private readonly store: Store,
    private readonly onChange: (nodeId: string | undefined) => void,
  ) {
    this.panel.addEventListener('click', ({ target }) => {
      const button = (target as Element).closest('button');
      const id = button?.dataset['node'];
      if (id !== undefined) this.open(id);
      else if (button !== null) this.close();
    });
  }

  get isOpen(): boolean {
    return this.nodeId !== undefined;
  }

  open(nodeId: string): void {
    if (!this.isOpen && document.activeElement instanceof HTMLElement) this.opener = document.activeElement;
    this.nodeId = nodeId;
    this.shown = '';
    this.panel.hidden = false;
    document.body.classList.add('with-details');
    this.update();
    this.panel.scrollTop = 0;
    this.panel.querySelector('h2')?.focus();
    this.onChange(nodeId);
  }

  close(): void {
    this.nodeId = undefined;
    this.panel.hidden = true;
    document.body.classList.remove('with-details');
    if (this.opener?.isConnected === true) this.opener.focus();
    this.opener = undefined;
    this.onChange(undefined);
  }

  /** Shows what has changed; nothing is touched while the content is the same, so that focus and selection stay. */
  update(): void {
    const id = this.nodeId;
    if (id === undefined) return;
    const { facts, lists } = this.collect(id);
    const looks = JSON.stringify([facts, lists]);
    if (looks === this.shown) return;
    const focused = this.panel.contains(document.activeElement) ? document.activeElement : null;
    const focusedNode = focused instanceof HTMLElement ? focused.dataset['node'] : undefined;
    const { scrollTop } = this.panel;
    this.shown = looks;
    const list = element('dl');
    for (const [name, value] of facts)
      list.append(element('div', {}, element('dt', {}, name), element('dd', {}, value)));
    this.panel.replaceChildren(
      element(
        'div',
        { class: 'bar' },
        element('h2', { tabindex: -1 }, this.store.label(id)),
        element('button', { type: 'button', 'aria-label': 'Close details' }, '×'),
      ),
      list,
      ...lists.flatMap(({ title, items }) => [
        element('h3', {}, title),
        element(
          'ul',
          {},
          ...items.map(({ text, nodeId }) =>
            element('li', {}, nodeId === undefined ? text : this.nodeButton(text, nodeId)),
          ),
        ),
      ]),
    );
    this.panel.scrollTop = scrollTop;
    if (focusedNode !== undefined)
      this.panel.querySelector<HTMLElement>(`[data-node="${CSS.escape(focusedNode)}"]`)?.focus();
    else if (focused !== null) this.panel.querySelector<HTMLElement>(focused.matches('h2') ? 'h2' : 'button')?.focus();
  }

  private nodeButton(text: string, nodeId: string): HTMLButtonElement {
    return element('button', { type: 'button', class: 'open', 'data-node': nodeId }, text);
  }

  private collect(id: string): Collected {
    const { store } = this;
    const facts: [string, string][] = [['Node id', id]];
    const node = store.nodes.get(id);
    if (node === undefined) facts.push(['State', 'not in the mesh']);
    else {
      facts.push(['Kind', kindOf(node)]);
      if (node.role !== '') facts.push(['Role', node.role]);
      if (!node.isSelf) {
        facts.push(['Distance', node.hops < 0 ? 'no way' : `${plural(node.hops, 'hop')}, ${ms(node.costMs)}`]);
        if (node.nextHop !== '' && node.nextHop !== id) facts.push(['Next hop', store.label(node.nextHop)]);
      }
    }
    const member = store.members.get(id);
    if (member !== undefined) {
      const state = certificateState(member, store.at);
      facts.push(['Certificate', `${state}, until ${date(member.until)}`]);
      facts.push(['Rights', member.rights.join(', ') || 'none']);
      if (member.tags.length > 0) facts.push(['Tags', member.tags.join(', ')]);
    }
    for (const link of store.links.values()) {
      if (link.peerId !== id) continue;
      facts.push(['Link', `${link.direction}, ${link.address}`], ['Round trip', link.trouble || ms(link.rttMs)]);
      facts.push(
        ['Bytes', `${bytes(link.bytesIn)} in, ${bytes(link.bytesOut)} out`],
        ['Up for', duration(store.at - link.since)],
      );
    }
    const neighbours = store.neighbours(id);
    const services = [...store.services.values()].filter(({ nodeId }) => nodeId === id);
    const lists: Listed[] = [];
    if (services.length > 0) {
      const items = services.map(({ service, port, meta }) => ({
        text: `${service}${port === 0 ? '' : `:${port}`}${meta === '' ? '' : ` ${meta}`}`,
      }));
      lists.push({ title: plural(services.length, 'service'), items: shortened(items) });
    }
    if (neighbours.length > 0) {
      const items = neighbours.map((other) => ({ text: store.label(other), nodeId: other }));
      lists.push({ title: plural(neighbours.length, 'link'), items: shortened(items) });
    }
    return { facts, lists };
  }
}

interface Item {
  readonly text: string;
  readonly nodeId?: string;
}

interface Listed {
  readonly title: string;
  readonly items: readonly Item[];
}

interface Collected {
  readonly facts: ReadonlyArray<readonly [string, string]>;
  readonly lists: readonly Listed[];
}

function shortened(items: readonly Item[]): readonly Item[] {
  return items.length <= LISTED
    ? items
    : [...items.slice(0, LISTED), { text: `and ${plural(items.length - LISTED, 'other')}` }];
}
