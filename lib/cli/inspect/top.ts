// starlane top

import type { LinkAnswer, LinksAnswer, StreamsAnswer } from '../../node/queries/answers.js';
import type { NodeStats } from '../../node/stats.js';
import { type Context, defineCommand } from '../command.js';
import { ExitCode } from '../failure.js';
import { flag } from '../flags.js';
import { type Asker, bytes, ms, NODE_FLAG, span, withAsker } from './ask.js';

const CLEAR = '\u001b[H\u001b[2J';
const SHOWN_STREAMS = 15;

interface View {
  readonly atMs: number;
  readonly stats: NodeStats;
  readonly links: LinksAnswer;
  readonly streams: StreamsAnswer;
}

export const top = defineCommand({
  name: 'top',
  summary: 'show links and streams by their traffic, again and again',
  usesNode: true,
  flags: {
    ...NODE_FLAG,
    interval: flag.duration('the time between two views', { otherwise: '2s', min: 100 }),
    count: flag.integer('how many views', { otherwise: 'until it is ended', min: 1, short: 'n' }),
  },
  examples: [
    { line: 'starlane top', about: 'until Ctrl-C' },
    { line: 'starlane top --count 2 --interval 10s --json', about: 'rates over ten seconds, for programs' },
  ],
  async run(context, _args, { node, interval = 2_000, count = Number.POSITIVE_INFINITY }) {
    await withAsker(context, (asker) => repeat(context, asker, node, interval, count));
    return ExitCode.OK;
  },
});

async function repeat(
  context: Context,
  asker: Asker,
  node: string | undefined,
  intervalMs: number,
  count: number,
): Promise<void> {
  let isEnded = false;
  let wake = () => {};
  const end = () => {
    isEnded = true;
    wake();
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, end);
  let before: View | undefined;
  for (let turn = 0; turn < count && !isEnded; turn++) {
    if (turn > 0) {
      await new Promise<void>((resolve) => {
        wake = resolve;
        setTimeout(resolve, intervalMs);
      });
      if (isEnded) break;
    }
    const view: View = {
      atMs: performance.now(),
      stats: await asker.ask('/v1/stats', node),
      links: await asker.ask('/v1/links', node),
      streams: await asker.ask(`/v1/streams?limit=${SHOWN_STREAMS}`, node),
    };
    show(context, view, before);
    before = view;
  }
}

function show({ output, stdout }: Context, view: View, before: View | undefined): void {
  const { stats, streams } = view;
  const links = view.links.links.map((link) => ({ ...link, ...ratesOf(link, view, before) }));
  links.sort((a, b) => b.inPerSecond + b.outPerSecond - a.inPerSecond - a.outPerSecond);
  output.json({ id: stats.id, links, streams: streams.streams, relay: stats.relay, dials: stats.dials });
  if (output.isJson) return;
  if (output.isTerminal) stdout.write(CLEAR);
  const { relay, dials, services, mesh } = stats;
  output.line(
    `node ${stats.id}  ${stats.state}  up ${span(stats.uptimeMs)}  ${mesh.nodes} nodes  ${services.instances} services  ${stats.warnings} warnings`,
  );
  output.line(
    `dials ${dials.connected} connected, ${dials.failed} failed, ${dials.pending} pending  relayed ${relay.circuits} circuits, ${bytes(relay.heldBytes)} held`,
  );
  output.line();
  if (links.length > 0) {
    output.line(
      output.tableText(links, {
        link: ({ peerName, peerId }) => peerName ?? peerId,
        'rtt ms': ({ smoothedRttMs, rttMs }) => ms(smoothedRttMs ?? rttMs),
        'in/s': ({ inPerSecond }) => bytes(inPerSecond),
        'out/s': ({ outPerSecond }) => bytes(outPerSecond),
        streams: ({ streams: open }) => open,
        queued: ({ queuedBytes }) => bytes(queuedBytes),
      }),
    );
    output.line();
  }
  if (streams.streams.length > 0) {
    output.line(
      output.tableText(streams.streams, {
        stream: ({ service, kind }) => (kind === 'socket' ? service : `(${kind})`),
        peer: ({ peerName, peerId }) => peerName ?? peerId,
        direction: ({ direction }) => direction,
        age: ({ ageMs }) => span(ageMs),
        in: ({ bytesIn }) => bytes(bytesIn),
        out: ({ bytesOut }) => bytes(bytesOut),
        'waiting in': ({ waitingIn }) => bytes(waitingIn),
        'waiting out': ({ waitingOut }) => bytes(waitingOut),
      }),
    );
  }
}

/** Returns the bytes a second since the last view; since the link came up for the first one. */
function ratesOf(
  link: LinkAnswer,
  view: View,
  before: View | undefined,
): { inPerSecond: number; outPerSecond: number } {
  const same = before?.links.links.find(({ peerId, since }) => peerId === link.peerId && since === link.since);
  const seconds =
    before === undefined || same === undefined ? (Date.now() - link.since) / 1_000 : (view.atMs - before.atMs) / 1_000;
  const rate = (now: number, then = 0) => Math.max(0, (now - then) / Math.max(0.001, seconds));
  return { inPerSecond: rate(link.bytesIn, same?.bytesIn), outPerSecond: rate(link.bytesOut, same?.bytesOut) };
}
