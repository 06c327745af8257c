// The last two minutes of some numbers, as uPlot takes them: times in seconds, then one list for each line.

const POINTS = 120;

export type HistoryData = [times: number[], ...lines: (number | null)[][]];

export class History {
  readonly data: HistoryData;

  constructor(readonly names: readonly string[]) {
    this.data = [[], ...names.map(() => [] as (number | null)[])];
  }

  push(at: number, values: readonly (number | null)[]): void {
    this.data[0].push(at / 1_000);
    for (const [index, value] of values.entries()) this.line(index).push(value);
    if (this.data[0].length > POINTS) for (const line of this.data) line.shift();
  }

  /** Returns the newest value of a line; 0 without one. */
  last(name: string): number {
    return this.line(this.names.indexOf(name)).at(-1) ?? 0;
  }

  private line(index: number): (number | null)[] {
    return this.data[index + 1] as (number | null)[];
  }
}
