// The files for Prometheus and Grafana: they only use what a node has, and the alerts fire when they should.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { parse } from 'yaml';
import { metrics } from '../../../lib/http/index.js';
import { createNode } from '../../../lib/index.js';
import { describeUnless } from '../../support/obstacle.js';
import { readExposition } from './exposition.js';
import { NO_PROMTOOL, promtool } from './promtool.js';

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../../..');
const ALERTS = join(ROOT, 'deploy/prometheus/alerts.yml');
const FOLDER = mkdtempSync(join(tmpdir(), 'starlane-alerts-'));

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: ReadonlyArray<{ readonly expr: string }>;
}

interface Dashboard {
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: ReadonlyArray<{ readonly name: string; readonly query: string }> };
}

const rules = (parse(readFileSync(ALERTS, 'utf8')) as { groups: Array<{ rules: Rule[] }> }).groups.flatMap(
  (group) => group.rules,
);
const dashboard = JSON.parse(readFileSync(join(ROOT, 'deploy/grafana/starlane.json'), 'utf8')) as Dashboard;

/** Labels that Prometheus adds. */
const TARGET_LABELS = ['job', 'instance'];
/** By the name of a metric: the labels of its series. */
const known = new Map<string, Set<string>>();

beforeAll(async () => {
  const node = createNode();
  const text = await metrics(node).render();
  await node.close();
  for (const { name, samples, type } of readExposition(text)) {
    known.set(name, new Set(TARGET_LABELS));
    if (type === 'histogram')
      for (const suffix of ['_bucket', '_sum', '_count']) known.set(name + suffix, new Set(TARGET_LABELS));
    for (const sample of samples) for (const label of Object.keys(sample.labels)) known.get(sample.name)?.add(label);
  }
  // These have no series before there is a failure, or without links.
  known.get('starlane_dial_errors_total')?.add('code');
  known.get('starlane_link_rtt_seconds')?.add('stat');
});

afterAll(() => rmSync(FOLDER, { recursive: true, force: true }));

/** What an expression asks for that no node has. */
function unknownIn(expr: string): string[] {
  const unknown: string[] = [];
  const used = new Set<string>();
  for (const [, name = '', matchers = ''] of expr.matchAll(/\b((?:starlane|process|nodejs)_\w+)(?:\{([^}]*)\})?/g)) {
    const labels = known.get(name);
    if (labels === undefined) unknown.push(name);
    for (const label of labels ?? []) used.add(label);
    for (const [, label = ''] of matchers.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g)) {
      if (labels?.has(label) !== true) unknown.push(`${name}{${label}}`);
    }
  }
  for (const [, list = ''] of expr.matchAll(/\b(?:by|without|on|ignoring)\s*\(([^)]*)\)/g)) {
    for (const label of list.split(',')) if (!used.has(label.trim())) unknown.push(`(${label.trim()})`);
  }
  if (used.size === 0) unknown.push('no metric');
  return unknown;
}

describe('the alerts', () => {
  it.each(rules.map((rule) => [rule.alert, rule] as const))(
    '%s asks for what nodes have, and says what to do',
    (_name, rule) => {
      expect(unknownIn(rule.expr)).toEqual([]);
      expect(['warning', 'critical']).toContain(rule.labels['severity']);
      expect(rule.annotations['summary']).toContain('{{ $labels.instance }}');
      expect(rule.annotations['description']).toMatch(/\.$/);
      const [page, anchor = ''] = (rule.annotations['runbook_url'] ?? '').split('#');
      expect(page).toBe('https://github.com/starlane/starlane/blob/main/docs/operate.md');
      expect([
        'a-node-is-not-ready',
        'links-are-lost',
        'dials-fail',
        'a-certificate-expires',
        'relays-are-full',
        'memory-grows',
      ]).toContain(anchor);
    },
  );

  it('have names of their own', () => {
    expect(rules.length).toBeGreaterThan(5);
    expect(new Set(rules.map(({ alert }) => alert)).size).toBe(rules.length);
  });

  it('would be found to ask for what there is not', () => {
    expect(unknownIn('starlane_lanes > 0')).toEqual(['starlane_lanes', 'no metric']);
    expect(unknownIn('sum by (colour) (starlane_links{shape="round"})')).toEqual(['starlane_links{shape}', '(colour)']);
  });
});

describe('the dashboard', () => {
  const panels = dashboard.panels.filter(({ type }) => type !== 'row');

  it.each(panels.map((panel) => [panel.title, panel] as const))('asks for what nodes have: %s', (_title, panel) => {
    expect(panel.targets?.length).toBeGreaterThan(0);
    for (const { expr } of panel.targets ?? []) {
      expect(unknownIn(expr)).toEqual([]);
      expect(expr).toContain('instance=~"$instance"');
    }
  });

  it('has panels that do not overlap, each with an id of its own', () => {
    expect(new Set(dashboard.panels.map(({ id }) => id)).size).toBe(dashboard.panels.length);
    const taken = new Set<string>();
    for (const { title, gridPos } of dashboard.panels) {
      const { x, y, w, h } = gridPos;
      expect({ title, fits: x + w <= 24 }).toEqual({ title, fits: true });
      for (let column = x; column < x + w; column++) {
        for (let row = y; row < y + h; row++) {
          expect({ title, taken: taken.has(`${column} ${row}`) }).toEqual({ title, taken: false });
          taken.add(`${column} ${row}`);
        }
      }
    }
  });

  it('has the variables that its queries use', () => {
    expect(dashboard.templating.list.map(({ name }) => name)).toEqual(['datasource', 'job', 'instance']);
  });

  it('is what its script makes', async () => {
    const made = (await import('../../../scripts/grafana.mjs' as string)) as { dashboard: unknown };
    expect(JSON.parse(JSON.stringify(made.dashboard))).toEqual(dashboard);
  });
});

/** Series of a node that has nothing to complain of, and those of one that has. */
interface Scene {
  readonly alert: string;
  readonly minutes: number;
  readonly quiet: Readonly<Record<string, string>>;
  readonly loud: Readonly<Record<string, string>>;
}

const SCENES: readonly Scene[] = [
  {
    alert: 'StarlaneNodeNotReady',
    minutes: 10,
    quiet: { starlane_links: '0x10', starlane_joins: '0x10' },
    loud: { starlane_links: '1 0x9', starlane_joins: '2x10' },
  },
  {
    alert: 'StarlaneLinksLost',
    minutes: 40,
    quiet: { starlane_links_lost_total: '0 5x39' },
    loud: { starlane_links_lost_total: '0+3x40' },
  },
  {
    alert: 'StarlaneLinksRefused',
    minutes: 40,
    quiet: { 'starlane_link_failures_total{reason="timeout"}': '0+3x40' },
    loud: { 'starlane_link_failures_total{reason="secret"}': '0+3x40' },
  },
  {
    alert: 'StarlaneDialsFail',
    minutes: 40,
    quiet: {
      'starlane_dials_total{result="connected"}': '0+600x40',
      'starlane_dials_total{result="failed"}': '0+6x40',
    },
    loud: {
      'starlane_dials_total{result="connected"}': '0+600x40',
      'starlane_dials_total{result="failed"}': '0+60x40',
    },
  },
  {
    alert: 'StarlaneDialsSlow',
    minutes: 40,
    quiet: durations(60),
    loud: durations(10),
  },
  {
    alert: 'StarlaneCertificateExpires',
    minutes: 120,
    quiet: { starlane_certificate_expiry_timestamp_seconds: `${30 * 86_400}x120` },
    loud: { starlane_certificate_expiry_timestamp_seconds: `${2 * 86_400}x120` },
  },
  {
    alert: 'StarlaneCertificateExpired',
    minutes: 10,
    quiet: { starlane_certificate_expiry_timestamp_seconds: `${2 * 86_400}x10` },
    loud: { starlane_certificate_expiry_timestamp_seconds: '1800x10' },
  },
  {
    alert: 'StarlaneRelaysFull',
    minutes: 20,
    quiet: { starlane_relay_limited_total: '7x20' },
    loud: { starlane_relay_limited_total: '0+7x20' },
  },
  {
    alert: 'StarlaneMemoryGrows',
    minutes: 300,
    quiet: { starlane_build_info: '1x300', process_resident_memory_bytes: '100000000+1000x300' },
    loud: { starlane_build_info: '1x300', process_resident_memory_bytes: '100000000+1000000x300' },
  },
  {
    alert: 'StarlaneGossipPunishes',
    minutes: 10,
    quiet: { starlane_gossip_punished_total: '2x10' },
    loud: { starlane_gossip_punished_total: '0x5 1x5' },
  },
];

/** Ten dials a second, of which so many of sixty take less than a second. */
function durations(quick: number): Record<string, string> {
  const of = (count: number): string => `0+${count * 10}x40`;
  const bucket = (le: string): string => `starlane_dial_duration_seconds_bucket{path="direct",le="${le}"}`;
  return {
    [bucket('0.5')]: of(quick),
    [bucket('1')]: of(quick),
    [bucket('5')]: of(60),
    [bucket('+Inf')]: of(60),
    'starlane_dial_duration_seconds_count{path="direct"}': of(60),
  };
}

describeUnless(NO_PROMTOOL, 'promtool', () => {
  it('takes the rules', () => {
    expect(promtool(['check', 'rules', ALERTS])).toMatchObject({ isContent: true });
  });

  it('finds that each alert fires for a node that has the fault, and for no other', () => {
    expect(SCENES.map(({ alert }) => alert).sort()).toEqual(rules.map(({ alert }) => alert).sort());
    const seriesOf = (series: Readonly<Record<string, string>>, instance: string): object[] =>
      Object.entries(series).map(([name, values]) => {
        const target = `job="starlane",instance="${instance}"`;
        const selector = name.endsWith('}') ? name.replace('}', `,${target}}`) : `${name}{${target}}`;
        return { series: selector, values };
      });
    const tests = SCENES.map(({ alert, minutes, quiet, loud }) => {
      const { labels } = rules.find((rule) => rule.alert === alert) as Rule;
      return {
        interval: '1m',
        input_series: [...seriesOf(quiet, 'quiet'), ...seriesOf(loud, 'loud')],
        promql_expr_test: [
          {
            expr: `sum by (instance, severity) (ALERTS{alertname="${alert}",alertstate="firing"})`,
            eval_time: `${minutes}m`,
            exp_samples: [{ labels: `{instance="loud",severity="${labels['severity']}"}`, value: 1 }],
          },
        ],
      };
    });
    const file = join(FOLDER, 'tests.yml');
    writeFileSync(file, JSON.stringify({ rule_files: [ALERTS], evaluation_interval: '1m', tests }));
    const { isContent, output } = promtool(['test', 'rules', file]);
    expect({ isContent, output }).toEqual({ isContent: true, output: expect.stringContaining('SUCCESS') });
  });
});
