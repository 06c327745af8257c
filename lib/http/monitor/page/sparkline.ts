// Small lines by uPlot, without axes, that follow a History. Colours come from the style sheet.

import uPlot from 'uplot';
import type { History, HistoryData } from './history.js';
import { colour, onThemeChange } from './theme.js';

const NOTHING: HistoryData = [[], [], []];

/** A line for each name, in the colour of a custom property. */
export type Lines = ReadonlyArray<readonly [name: string, property: string]>;

export class Sparkline {
  private readonly plot: uPlot;
  private history: History | undefined;
  private readonly forget: () => void;

  constructor(
    parent: HTMLElement,
    private readonly lines: Lines,
    width: number,
    height: number,
  ) {
    const options: uPlot.Options = {
      width,
      height,
      pxAlign: false,
      cursor: { show: false },
      legend: { show: false },
      select: { show: false, left: 0, top: 0, width: 0, height: 0 },
      padding: [2, 0, 2, 0],
      scales: {
        x: { time: false },
        y: { range: (_, min, max) => [Math.min(0, min ?? 0), Math.max(1, (max ?? 0) * 1.1)] },
      },
      axes: [{ show: false }, { show: false }],
      series: [
        {},
        ...lines.map(([, property], index) => ({
          stroke: () => colour(property),
          fill: index === 0 ? () => colour(`${property}-soft`) : undefined,
          width: 1.25,
          points: { show: false },
        })),
      ],
    };
    this.plot = new uPlot(options, NOTHING.slice(0, lines.length + 1) as uPlot.AlignedData, parent);
    // It says nothing that the text beside it does not say.
    this.plot.root.setAttribute('aria-hidden', 'true');
    this.forget = onThemeChange(() => this.plot.redraw(false));
  }

  /** Shows the newest values; nothing without a history. */
  draw(history: History | undefined): void {
    this.history = history;
    const data = history?.data ?? NOTHING;
    const rows = this.lines.map(([name]) => data[1 + (history?.names.indexOf(name) ?? 0)] ?? []);
    this.plot.setData([data[0], ...rows] as uPlot.AlignedData);
  }

  resize(width: number, height: number): void {
    if (this.plot.width !== width || this.plot.height !== height) this.plot.setSize({ width, height });
  }

  get shown(): History | undefined {
    return this.history;
  }

  destroy(): void {
    this.forget();
    this.plot.destroy();
  }
}
