// Dark or light: what the system prefers, or what the reader has chosen, which is kept. Canvases ask here for the colours of the style sheet.

import { byId } from './dom.js';

const KEY = 'starlane-theme';
const listeners = new Set<() => void>();
const known = new Map<string, string>();
let probe: HTMLElement | undefined;

/** Returns the colour that a custom property of the style sheet has now. */
export function colour(property: string): string {
  let found = known.get(property);
  if (found === undefined) {
    // The property itself would be `light-dark(...)`; a colour that uses it is what a canvas can take.
    probe ??= document.body.appendChild(document.createElement('i'));
    probe.hidden = true;
    probe.style.color = `var(${property})`;
    found = getComputedStyle(probe).color;
    known.set(property, found);
  }
  return found;
}

/** Calls back after the colours have changed; returns a function that ends it. */
export function onThemeChange(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function startTheme(): void {
  const choice = byId<HTMLSelectElement>('theme');
  choice.value = read();
  if (choice.value === '') choice.value = 'auto';
  const apply = (): void => {
    if (choice.value === 'auto') delete document.documentElement.dataset['theme'];
    else document.documentElement.dataset['theme'] = choice.value;
    known.clear();
    for (const listener of listeners) listener();
  };
  choice.addEventListener('change', () => {
    apply();
    try {
      localStorage.setItem(KEY, choice.value);
    } catch {
      // Without storage the choice holds for this page.
    }
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', apply);
  apply();
}

function read(): string {
  try {
    return localStorage.getItem(KEY) ?? 'auto';
  } catch {
    return 'auto';
  }
}
