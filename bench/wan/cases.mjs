import { addRecovery } from './steps.mjs';

/**
 * @typedef {object} Work
 * @property {{ streams: number, direction: 'up' | 'down' }} [bulk] up: from the client, which dials, to the server
 * @property {import('./echo.mjs').EchoWork} [echo]
 * @property {number} [dials] so many, one after the other, and nothing else
 *
 * @typedef {object} OverPath
 * @property {import('./path.mjs').Conditions} path
 * @property {Work} work
 * @property {import('./steps.mjs').Step} [step]
 * @property {number} [measureScale] so many times as long as the others, warm-up included
 * @property {(pair: import('../report.mjs').Pair) => void} [compare] adds figures that need all carriers of a pair
 * @typedef {Omit<import('../cases/case.mjs').BenchCase, 'server' | 'client'> & OverPath} WanCase
 *
 * @typedef {object} Group cases that have the carriers and columns of a table in common
 * @property {string} name
 * @property {string} title
 * @property {string[]} carriers
 * @property {[ours: string, theirs: string][]} ratios
 * @property {boolean} [isByCarrier] the table has a row for each carrier, as each is compared with another one
 * @property {WanCase[]} cases
 */

/** @typedef {import('../cases/case.mjs').Floor} Floor */
/** @typedef {import('../cases/case.mjs').Figure} Figure */

const MBIT = 1e6;
/** @type {Record<string, number>} */
const RATES = { '10M': 10 * MBIT, '20M': 20 * MBIT, '100M': 100 * MBIT, '200M': 200 * MBIT, '1G': 1000 * MBIT };
const DEEP_QUEUE_BYTES = 1_000_000;

/**
 * Reads "40ms-200M-cubic" or "40ms-200M-bbr-loss", where a loss is one of 1 %.
 *
 * @param {string} text
 * @returns {import('./path.mjs').Conditions}
 */
function conditions(text) {
  const [delay, rate, congestion, loss] = text.split('-');
  return { rate: RATES[rate], rttMs: Number.parseInt(delay, 10), congestion, loss: loss === undefined ? 0 : 0.01 };
}

/** @param {import('./path.mjs').Conditions} path */
function describePath({ rate, rttMs, congestion, loss, queueBytes }) {
  const drops = loss ? `, ${loss * 100} % lost` : '';
  const queue = queueBytes === undefined ? '' : `, queue of ${queueBytes / 1000} KB`;
  return `${rate / MBIT} Mbit/s, ${rttMs} ms, ${congestion}${drops}${queue}`;
}

/** @type {Figure[]} */
const ASIDES = [
  { key: 'queued', title: 'most queued, KiB', digits: 0, isAside: true },
  { key: 'lost', title: 'packets lost', digits: 0, isAside: true },
  { key: 'late', title: 'ms late at most', digits: 1, isAside: true },
];

/**
 * @param {'up' | 'down'} direction
 * @param {number} streams
 * @param {string} pathText
 * @param {Floor[]} floors of the rate
 * @param {string} [prefix]
 * @returns {WanCase}
 */
function bulk(direction, streams, pathText, floors, prefix = '') {
  const path = conditions(pathText);
  return {
    name: `${prefix}${direction}-${streams}-${pathText}`,
    about: `bulk ${direction} on ${streams} stream${streams > 1 ? 's' : ''}: ${describePath(path)}`,
    path,
    work: { bulk: { streams, direction } },
    figures: [
      { key: 'rate', title: 'Mbit/s', digits: 1, floors },
      { key: 'start', title: 's until 4 MiB have arrived', digits: 2 },
      ...ASIDES,
    ],
  };
}

/**
 * @param {number} atLeast
 * @returns {Floor[]}
 */
const ofNet = (atLeast) => [{ against: 'net', atLeast }];

const ONE_STREAM = ofNet(0.95);
const MANY_STREAMS = ofNet(0.9);

const oneStream = [
  ...['10ms-20M-cubic', '10ms-1G-cubic', '40ms-20M-cubic', '40ms-200M-cubic', '40ms-200M-bbr', '200ms-20M-cubic'],
  '200ms-200M-cubic',
].flatMap((path) => [bulk('up', 1, path, ONE_STREAM), bulk('down', 1, path, ONE_STREAM)]);

const manyStreams = ['40ms-200M-cubic', '40ms-200M-bbr'].flatMap((path) =>
  [8, 100].flatMap((streams) => [bulk('up', streams, path, MANY_STREAMS), bulk('down', streams, path, MANY_STREAMS)]),
);

const lossy = [
  ...['40ms-200M-cubic-loss', '40ms-200M-bbr-loss'].flatMap((path) => [
    bulk('up', 1, path, ONE_STREAM),
    bulk('down', 1, path, ONE_STREAM),
  ]),
  bulk('up', 8, '40ms-200M-bbr-loss', MANY_STREAMS),
  bulk('down', 8, '40ms-200M-bbr-loss', MANY_STREAMS),
  // Eight times the losses halve one window where each halves one of eight: no link of one socket comes near.
  bulk('up', 8, '40ms-200M-cubic-loss', []),
];

/**
 * @param {string} pathText
 * @returns {WanCase}
 */
function echoAtLoss(pathText) {
  const path = conditions(pathText);
  const streams = 100;
  return {
    name: `echo-${streams}-${pathText}`,
    about: `64 B ping-pong on ${streams} streams at once: ${describePath(path)}`,
    path,
    work: { echo: { streams } },
    figures: [
      { key: 'p99', title: 'echo p99, ms', digits: 0, floors: [{ against: 'net', atMost: 0.5 }] },
      { key: 'p50', title: 'echo p50, ms', digits: 0 },
      { key: 'echoes', title: 'echoes measured', digits: 0, isAmount: true },
      ...ASIDES,
    ],
  };
}

/**
 * @param {string} congestion
 * @returns {WanCase}
 */
function echoBesideBulk(congestion) {
  const path = { ...conditions(`40ms-20M-${congestion}`), queueBytes: DEEP_QUEUE_BYTES };
  return {
    name: `echo-beside-bulk-${congestion}`,
    about: `64 B echo every 10 ms beside a bulk stream: ${describePath(path)}`,
    path,
    work: { bulk: { streams: 1, direction: 'up' }, echo: { streams: 1, everyMs: 10 } },
    // Cubic takes some seconds from one filled queue to the next.
    measureScale: 2,
    figures: [
      {
        key: 'p99',
        title: 'echo p99, ms',
        digits: 0,
        floors: [
          { against: 'net', atMost: 0.75 },
          { against: 'http2', atMost: 0.5 },
        ],
      },
      { key: 'p50', title: 'echo p50, ms', digits: 0 },
      { key: 'rate', title: 'bulk meanwhile, Mbit/s', digits: 1, floors: ofNet(0.9) },
      ...ASIDES,
    ],
  };
}

const DIRECT = 'starlane';
/** What each way may cost, by the direct plain link; of the secure one, by the relayed one that is not. @type {Floor[]} */
const WAY_FLOORS = [
  { of: 'starlane-tls', against: DIRECT, atLeast: 0.95 },
  { of: 'relay-server', against: DIRECT, atLeast: 0.9 },
  { of: 'relay-client', against: DIRECT, atLeast: 0.9 },
  { of: 'relays-3', against: DIRECT, atLeast: 0.8 },
  { of: 'secure', against: 'relay-server', atLeast: 0.9 },
];

/** At this rate each of the processes needs a core, or the figure measures their scheduling. */
const FAST_WAY_CORES = 4;

const ways = ['40ms-200M-cubic', '40ms-200M-bbr', '200ms-20M-cubic', '10ms-1G-cubic'].flatMap((path) => {
  const floors = path.includes('1G') ? WAY_FLOORS.map((floor) => ({ ...floor, cores: FAST_WAY_CORES })) : WAY_FLOORS;
  return [bulk('up', 1, path, floors, 'way-'), bulk('down', 1, path, floors, 'way-')];
});

/**
 * @param {string} name
 * @param {string} about
 * @param {string} congestion
 * @param {import('./steps.mjs').Step} step
 * @returns {WanCase}
 */
function stepCase(name, about, congestion, step) {
  const path = conditions(`40ms-100M-${congestion}`);
  return {
    name: `step-${name}-${congestion}`,
    about: `one bulk stream and an echo every 10 ms while ${about}: ${describePath(path)}`,
    path,
    step,
    work: { bulk: { streams: 1, direction: 'up' }, echo: { streams: 1, everyMs: 10 } },
    compare: addRecovery,
    figures: [
      { key: 'rateAfter', title: 'bulk 3 to 6 s after, Mbit/s', digits: 1, floors: ofNet(0.9) },
      {
        key: 'recovery',
        title: 's until 0.9 x net holds for 1 s, 5 at most',
        digits: 2,
        isAmount: true,
        floors: [{ atMost: 3 }],
      },
      { key: 'p99After', title: 'echo p99 3 to 6 s after, ms', digits: 0 },
      { key: 'rate', title: 'bulk before, Mbit/s', digits: 1 },
      { key: 'p99', title: 'echo p99 before, ms', digits: 0 },
      ...ASIDES,
    ],
  };
}

const steps = ['cubic', 'bbr'].flatMap((congestion) => [
  stepCase('rate', 'the rate drops to a tenth', congestion, { changes: { rate: RATES['10M'] } }),
  stepCase('rtt', 'the round trip triples', congestion, { changes: { rttMs: 120 } }),
  stepCase('dark', 'the path is dark for 3 s', congestion, { changes: {}, darkMs: 3_000 }),
]);

/** @type {WanCase} */
const dial = {
  name: 'dial-300ms',
  about: "dial until 'connect', over existing links: 100 Mbit/s, 300 ms",
  path: { rate: RATES['100M'], rttMs: 300 },
  work: { dials: 5 },
  figures: [
    {
      key: 'trips',
      title: 'round trips',
      digits: 2,
      floors: ['starlane', 'relay-server', 'relay-client'].map((of) => ({ of, atMost: 2.5 })),
    },
  ],
};

/** @type {[ours: string, theirs: string][]} */
const BY_SOCKETS = [
  ['starlane', 'net'],
  ['starlane', 'http2'],
];
const SOCKETS = ['net', 'http2', 'starlane'];
/** @type {[ours: string, theirs: string][]} */
const BY_WAY = WAY_FLOORS.map(({ of, against }) => [/** @type {string} */ (of), /** @type {string} */ (against)]);

/** @type {Group[]} */
export const GROUPS = [
  { name: 'one', title: 'One stream', carriers: SOCKETS, ratios: BY_SOCKETS, cases: oneStream },
  {
    name: 'many',
    title: 'Many streams, and a socket for each',
    carriers: SOCKETS,
    ratios: BY_SOCKETS,
    cases: manyStreams,
  },
  { name: 'loss', title: '1 % of packets is lost', carriers: SOCKETS, ratios: BY_SOCKETS, cases: lossy },
  {
    name: 'echo',
    title: 'Echo at 1 % loss',
    carriers: SOCKETS,
    ratios: BY_SOCKETS,
    cases: [echoAtLoss('40ms-20M-cubic-loss'), echoAtLoss('40ms-20M-bbr-loss')],
  },
  {
    name: 'deep',
    title: 'Echo beside bulk in a deep queue',
    carriers: SOCKETS,
    ratios: BY_SOCKETS,
    cases: [echoBesideBulk('cubic'), echoBesideBulk('bbr')],
  },
  {
    name: 'way',
    title: 'TLS, relays and encryption from end to end',
    carriers: ['net', 'tls', DIRECT, 'starlane-tls', 'relay-server', 'relay-client', 'relays-3', 'secure'],
    ratios: BY_WAY,
    isByCarrier: true,
    cases: ways,
  },
  {
    name: 'step',
    title: 'The path changes',
    carriers: SOCKETS,
    ratios: BY_SOCKETS,
    cases: steps,
  },
  {
    name: 'dial',
    title: 'Dial',
    carriers: ['net', 'tls', 'http2', DIRECT, 'relay-server', 'relay-client', 'relays-3', 'secure'],
    ratios: [],
    isByCarrier: true,
    cases: [dial],
  },
];

/** @param {string} name */
function caseOf(name) {
  const found = GROUPS.flatMap(({ cases }) => cases).find((candidate) => candidate.name === name);
  if (found === undefined) throw new Error(`no case '${name}'`);
  return found;
}

/**
 * A case whose first figure has another floor, for machines that others use as well.
 *
 * @param {string} name
 * @param {Floor} floor
 * @returns {WanCase}
 */
function loosely(name, floor) {
  const found = caseOf(name);
  const figures = found.figures.map((figure, i) => ({ ...figure, floors: i === 0 ? [floor] : [] }));
  return { ...found, figures, measureScale: 1 };
}

/** What --short runs. @type {Group} */
export const SHORT_GROUP = {
  name: 'short',
  title: 'Short',
  carriers: ['net', 'starlane'],
  ratios: [['starlane', 'net']],
  cases: [
    loosely('up-1-40ms-20M-cubic', { against: 'net', atLeast: 0.4 }),
    loosely('down-1-40ms-200M-cubic', { against: 'net', atLeast: 0.25 }),
    loosely('up-1-40ms-200M-bbr-loss', { against: 'net', atLeast: 0.25 }),
    loosely('echo-beside-bulk-cubic', { against: 'net', atMost: 1.5 }),
  ],
};
