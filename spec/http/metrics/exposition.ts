// A strict reader of the text format of Prometheus, as https://prometheus.io/docs/instrumenting/exposition_formats describes it.

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly samples: readonly Sample[];
}

const NAME = '[a-zA-Z_][a-zA-Z0-9_]*';
const SAMPLE = new RegExp(`^(${NAME})(?:\\{(.*)\\})? (\\S+)$`);
const LABEL = new RegExp(`^(${NAME})="((?:[^"\\\\\\n]|\\\\\\\\|\\\\"|\\\\n)*)"(?:,|$)`);
const VALUE = /^(?:[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?|NaN|[-+]?Inf|Nan)$/;
const SUFFIXES: Readonly<Record<string, readonly string[]>> = {
  counter: [''],
  gauge: [''],
  histogram: ['_bucket', '_sum', '_count'],
  summary: ['', '_sum', '_count'],
};

function fail(line: string, why: string): never {
  throw new Error(`${why}: ${line}`);
}

function labelsOf(text: string, line: string): Record<string, string> {
  const labels: Record<string, string> = {};
  for (let rest = text; rest !== ''; ) {
    const found = LABEL.exec(rest);
    if (found === null) fail(line, 'a label that is none');
    const [all, name = '', value = ''] = found;
    if (name in labels) fail(line, 'a label twice');
    if (name.startsWith('__')) fail(line, 'a name that is reserved');
    labels[name] = value;
    rest = rest.slice(all.length);
  }
  return labels;
}

/** Returns the families of metrics in a text. @throws Error for anything that the format does not have */
export function readExposition(text: string): Family[] {
  if (!text.endsWith('\n')) throw new Error('the last line has no end');
  const families: Array<{ name: string; help: string; type: string; samples: Sample[] }> = [];
  const series = new Set<string>();
  let help: { name: string; text: string } | undefined;
  for (const line of text.slice(0, -1).split('\n')) {
    if (line === '') continue;
    const [, kind, name = '', rest = ''] = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line) ?? [];
    if (kind === 'HELP') {
      if (families.some((family) => family.name === name)) fail(line, 'a metric twice');
      if (rest.trim() === '') fail(line, 'no help');
      help = { name, text: rest };
    } else if (kind === 'TYPE') {
      if (help?.name !== name) fail(line, 'a type without its help before');
      if (!(rest in SUFFIXES)) fail(line, 'an unknown type');
      families.push({ name, help: help.text, type: rest, samples: [] });
    } else if (line.startsWith('#')) fail(line, 'a comment');
    else {
      const family = families.at(-1);
      const [, sample = '', labelText = '', value = ''] = SAMPLE.exec(line) ?? fail(line, 'not a sample');
      if (family === undefined) fail(line, 'a sample of no metric');
      if (!SUFFIXES[family.type]?.some((suffix) => sample === family.name + suffix)) fail(line, 'of another metric');
      if (!VALUE.test(value)) fail(line, 'not a number');
      const labels = labelsOf(labelText, line);
      const key = `${sample} ${JSON.stringify(Object.entries(labels).sort())}`;
      if (series.has(key)) fail(line, 'a series twice');
      series.add(key);
      family.samples.push({ name: sample, labels, value: Number(value.replace('Inf', 'Infinity')) });
    }
  }
  for (const { name, type, samples } of families) if (type === 'histogram') checkHistogram(name, samples);
  return families;
}

/** The buckets of each histogram grow, and the last one has all of them. */
function checkHistogram(name: string, samples: readonly Sample[]): void {
  const groups = new Map<string, Sample[]>();
  for (const sample of samples) {
    const { le: _, ...labels } = sample.labels;
    const key = JSON.stringify(labels);
    groups.set(key, [...(groups.get(key) ?? []), sample]);
  }
  for (const [key, ofGroup] of groups) {
    const buckets = ofGroup.filter((sample) => sample.name === `${name}_bucket`);
    const counts = ofGroup.filter((sample) => sample.name === `${name}_count`);
    const bounds = buckets.map(({ labels }) => Number(labels['le']?.replace('Inf', 'Infinity')));
    const isSorted = (values: readonly number[]): boolean =>
      values.every((value, at) => at === 0 || value >= (values[at - 1] as number));
    if (!isSorted(bounds) || bounds.at(-1) !== Number.POSITIVE_INFINITY) throw new Error(`bounds of ${name} ${key}`);
    if (!isSorted(buckets.map(({ value }) => value))) throw new Error(`buckets of ${name} ${key}`);
    if (counts.length !== 1 || counts[0]?.value !== buckets.at(-1)?.value) throw new Error(`count of ${name} ${key}`);
  }
}

/** Returns the value of a series; undefined when there is none. */
export function seriesOf(
  families: readonly Family[],
  name: string,
  labels: Readonly<Record<string, string>> = {},
): number | undefined {
  const keyOf = (of: Readonly<Record<string, string>>): string => JSON.stringify(Object.entries(of).sort());
  const samples = families.flatMap((family) => family.samples);
  return samples.find((sample) => sample.name === name && keyOf(sample.labels) === keyOf(labels))?.value;
}
