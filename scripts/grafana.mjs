// Writes deploy/grafana/starlane.json, the dashboard, from the panels below. Usage: node scripts/grafana.mjs && npm run format

import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const SELECT = '{job=~"$job", instance=~"$instance"}';
const RATE = '[$__rate_interval]';

/** @param {string} expr @param {string} [legendFormat] */
const query = (expr, legendFormat = '{{instance}}') => ({ expr, legendFormat });
/** The selector with further matchers. @param {string} more */
const where = (more) => SELECT.replace('}', `, ${more}}`);

/** @type {Array<{ row: string, panels: Array<{ title: string, about?: string, unit?: string, kind?: string, queries: object[] }> }>} */
const rows = [
  {
    row: 'Nodes',
    panels: [
      {
        title: 'Nodes without a link',
        about: 'Nodes that keep addresses joined, and have no link.',
        kind: 'stat',
        queries: [
          query(`count((starlane_links${SELECT} == 0) and (starlane_joins${SELECT} > 0)) or vector(0)`, 'nodes'),
        ],
      },
      {
        title: 'Nodes by version',
        kind: 'stat',
        queries: [query(`count by (version) (starlane_build_info${SELECT})`, '{{version}}')],
      },
      {
        title: 'Certificates expire in',
        about: 'The shortest time that any certificate has left.',
        kind: 'stat',
        unit: 's',
        queries: [query(`min(starlane_certificate_expiry_timestamp_seconds${SELECT} - time())`, 'first')],
      },
      {
        title: 'Draining',
        kind: 'stat',
        queries: [query(`sum(starlane_node_state${where('state="draining"')}) or vector(0)`, 'nodes')],
      },
      { title: 'Nodes reached', queries: [query(`starlane_nodes${SELECT}`)] },
      {
        title: 'Services',
        about: 'Names, and instances of them, that each node can dial.',
        queries: [
          query(`starlane_service_names${SELECT}`, '{{instance}} names'),
          query(`starlane_service_instances${SELECT}`, '{{instance}} instances'),
        ],
      },
    ],
  },
  {
    row: 'Links',
    panels: [
      { title: 'Links', queries: [query(`starlane_links${SELECT}`)] },
      {
        title: 'Links lost and refused, per minute',
        queries: [
          query(`rate(starlane_links_lost_total${SELECT}${RATE}) * 60`, '{{instance}} lost'),
          query(`rate(starlane_link_failures_total${SELECT}${RATE}) * 60 > 0`, '{{instance}} {{reason}}'),
        ],
      },
      {
        title: 'Bytes over links',
        unit: 'Bps',
        queries: [query(`rate(starlane_link_bytes_total${SELECT}${RATE})`, '{{instance}} {{direction}}')],
      },
      {
        title: 'Round trips',
        unit: 's',
        queries: [query(`starlane_link_rtt_seconds${SELECT}`, '{{instance}} {{stat}}')],
      },
    ],
  },
  {
    row: 'Dials',
    panels: [
      {
        title: 'Dials',
        unit: 'ops',
        queries: [query(`rate(starlane_dials_total${SELECT}${RATE})`, '{{instance}} {{result}}')],
      },
      {
        title: 'Failures by code',
        unit: 'ops',
        queries: [query(`sum by (code) (rate(starlane_dial_errors_total${SELECT}${RATE}))`, '{{code}}')],
      },
      {
        title: 'Duration of dials',
        about: 'Median and 95th percentile of connected dials.',
        unit: 's',
        queries: [0.5, 0.95].map((quantile) =>
          query(
            `histogram_quantile(${quantile}, sum by (le, path) (rate(starlane_dial_duration_seconds_bucket${SELECT}${RATE})))`,
            `{{path}} ${quantile * 100} %`,
          ),
        ),
      },
      {
        title: 'Circuits that came in',
        unit: 'ops',
        queries: [
          query(`rate(starlane_accepts_total${SELECT}${RATE})`, '{{instance}} {{result}}'),
          query(`rate(starlane_accepts_denied_total${SELECT}${RATE}) > 0`, '{{instance}} denied'),
        ],
      },
      {
        title: 'Open streams',
        queries: [
          query(`sum without (over) (starlane_streams${SELECT})`),
          query(`starlane_server_sockets${SELECT}`, '{{instance}} of servers'),
        ],
      },
      { title: 'Pending dials', queries: [query(`starlane_dials_pending${SELECT}`)] },
    ],
  },
  {
    row: 'Relays',
    panels: [
      { title: 'Circuits of others', queries: [query(`starlane_circuits_relayed${SELECT}`)] },
      {
        title: 'Relayed payload',
        unit: 'Bps',
        queries: [query(`rate(starlane_relay_bytes_total${SELECT}${RATE})`)],
      },
      {
        title: 'Held for slow readers',
        unit: 'bytes',
        queries: [query(`starlane_relay_held_bytes${SELECT}`)],
      },
      {
        title: 'Refused and lost',
        unit: 'ops',
        queries: [
          query(`rate(starlane_relay_refused_total${SELECT}${RATE})`, '{{instance}} refused'),
          query(`rate(starlane_relay_limited_total${SELECT}${RATE})`, '{{instance}} beyond a limit'),
          query(`rate(starlane_relay_lost_total${SELECT}${RATE})`, '{{instance}} lost'),
        ],
      },
    ],
  },
  {
    row: 'Gossip and process',
    panels: [
      {
        title: 'Gossip',
        unit: 'Bps',
        queries: [query(`rate(starlane_gossip_bytes_total${SELECT}${RATE})`, '{{instance}} {{direction}}')],
      },
      {
        title: 'What became of records',
        unit: 'ops',
        queries: [query(`sum by (result) (rate(starlane_gossip_results_total${SELECT}${RATE}))`, '{{result}}')],
      },
      {
        title: 'Resident memory',
        unit: 'bytes',
        queries: [query(`process_resident_memory_bytes${SELECT} and on (job, instance) starlane_build_info`)],
      },
      {
        title: 'Delay of the event loop',
        about: '99th percentile.',
        unit: 's',
        queries: [query(`nodejs_eventloop_lag_p99_seconds${SELECT} and on (job, instance) starlane_build_info`)],
      },
      { title: 'Warnings', unit: 'ops', queries: [query(`rate(starlane_warnings_total${SELECT}${RATE})`)] },
    ],
  },
];

const COLUMNS = 24;
// A variable of Grafana, not of JavaScript.
// biome-ignore lint/suspicious/noTemplateCurlyInString: see above
const datasource = { type: 'prometheus', uid: '${datasource}' };
const REFS = 'ABCDEFGH';
let id = 0;
let y = 0;
const panels = [];
for (const { row, panels: ofRow } of rows) {
  panels.push({
    id: ++id,
    type: 'row',
    title: row,
    collapsed: false,
    gridPos: { x: 0, y, w: COLUMNS, h: 1 },
    panels: [],
  });
  y += 1;
  let x = 0;
  let height = 0;
  for (const { title, about = '', unit = 'short', kind = 'timeseries', queries } of ofRow) {
    const [w, h] = kind === 'stat' ? [6, 4] : [8, 8];
    if (x + w > COLUMNS || (height !== 0 && h !== height)) {
      x = 0;
      y += height;
    }
    height = h;
    panels.push({
      id: ++id,
      type: kind,
      title,
      description: about,
      datasource,
      gridPos: { x, y, w, h },
      fieldConfig: { defaults: { unit, min: 0 }, overrides: [] },
      options:
        kind === 'stat' ? { reduceOptions: { calcs: ['lastNotNull'] } } : { tooltip: { mode: 'multi', sort: 'desc' } },
      targets: queries.map((one, index) => ({ refId: REFS[index], datasource, ...one })),
    });
    x += w;
  }
  y += height;
}

/** @param {string} name @param {string} metric */
const variable = (name, metric) => ({
  name,
  type: 'query',
  datasource,
  query: `label_values(${metric}, ${name})`,
  definition: `label_values(${metric}, ${name})`,
  includeAll: true,
  multi: true,
  current: { text: 'All', value: '$__all' },
  refresh: 2,
  sort: 1,
});

export const dashboard = {
  uid: 'starlane',
  title: 'Starlane',
  description: 'The nodes of a Starlane network.',
  tags: ['starlane'],
  schemaVersion: 39,
  editable: true,
  refresh: '30s',
  time: { from: 'now-3h', to: 'now' },
  templating: {
    list: [
      { name: 'datasource', type: 'datasource', query: 'prometheus', current: {} },
      variable('job', 'starlane_build_info'),
      variable('instance', 'starlane_build_info{job=~"$job"}'),
    ],
  },
  panels,
};

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(new URL('../deploy/grafana/starlane.json', import.meta.url), `${JSON.stringify(dashboard, null, 2)}\n`);
}
