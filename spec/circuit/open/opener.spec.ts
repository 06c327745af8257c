// The opener of circuits: which hops begin with less credit, what a reset without a reason means, and how long it waits.

import { describe, expect, it } from '@jest/globals';
import { HopSearch } from '../../../lib/circuit/open/hop-search.js';
import { CircuitOpener } from '../../../lib/circuit/open/opener.js';
import type { Routes } from '../../../lib/circuit/paths.js';
import { starlaneError } from '../../../lib/errors.js';
import { kOnReset } from '../../../lib/mux/hidden.js';
import type { MuxStream } from '../../../lib/mux/stream/stream.js';
import { Timers } from '../../../lib/util/timers.js';
import { ReplyCode } from '../../../lib/wire/open-reply.js';
import { FakeClock } from '../../support/fake-clock.js';

const [SELF, SOURCE, RELAY, DST] = ['AAAAAAAAAAA', 'BAAAAAAAAAA', 'CAAAAAAAAAA', 'DAAAAAAAAAA'];

/** One opener at SELF, whose neighbours are links that the spec controls. */
function search(setup: { neighbours: readonly string[]; src?: string; timeoutMs?: number; cost?: number }) {
  const { neighbours, src = SELF, timeoutMs = 5_000, cost } = setup;
  const events: string[] = [];
  const clock = new FakeClock();
  const streams: Array<{ isAcknowledged: boolean }> = [];
  const links = new Map(
    neighbours.map(
      (id) => [id, { rttMs: 1, lateMs: 0, canOpen: true, open: () => streamOf(events, id, streams) }] as const,
    ),
  );
  const routes: Routes = {
    nextHops: (_dst, _hash, visited) => neighbours.filter((id) => !visited.includes(id)),
    route: () => (cost === undefined ? undefined : { hops: 2, cost }),
    penalise: (id) => events.push(`penalise ${id}`),
    reward: () => {},
  };
  const host = {
    nodeId: SELF,
    timers: new Timers(clock),
    routes,
    hopTimeoutMs: 1_500,
    hop: (id: string) => links.get(id),
  };
  const open = { hopLimit: 9, dst: DST, dstPort: 1, src, srcPort: 2, circuitId: new Uint8Array(16), service: '' };
  const start = { self: SELF, src, dst: DST, passed: [], tried: [], circuitHash: 1 };
  const owner = {
    onCircuit: () => {},
    onNoCircuit: ({ code }: { code: number }) => events.push(`no circuit: ${code}`),
  };
  const opener = new CircuitOpener(host, owner, new HopSearch(start, routes), open, timeoutMs);
  opener.start();
  const pass = (ms: number): void => {
    clock.advance(ms);
    clock.runImmediates();
  };
  return { opener, events, links, pass, streams };
}

function streamOf(events: string[], id: string, streams: Array<{ isAcknowledged: boolean }>): MuxStream {
  events.push(`open ${id}`);
  const stream = {
    queuedBytes: 0,
    isAcknowledged: false,
    useRelayWindow: () => events.push(`relay window ${id}`),
    reset: () => {},
  };
  streams.push(stream);
  return stream as unknown as MuxStream;
}

describe('the credit of a hop', () => {
  it('is less on the way through a relay, at the source and at a relay', () => {
    expect(search({ neighbours: [RELAY] }).events).toEqual([`open ${RELAY}`, `relay window ${RELAY}`]);
    expect(search({ neighbours: [DST], src: SOURCE }).events).toEqual([`open ${DST}`, `relay window ${DST}`]);
  });

  it('is the usual one when a link to the destination has come up meanwhile, as the other end takes it', () => {
    expect(search({ neighbours: [DST] }).events).toEqual([`open ${DST}`]);
  });
});

describe('a reset without a reason', () => {
  const error = starlaneError('ERR_STARLANE_STREAM_RESET');

  it('is the answer of a destination that has no room', () => {
    const { opener, events } = search({ neighbours: [DST, RELAY], src: SOURCE });
    opener[kOnReset]({} as MuxStream, error, 0);
    expect(events.at(-1)).toBe(`no circuit: ${ReplyCode.LIMIT}`);
  });

  it('is not an answer when the link takes no more streams: another way is tried', () => {
    const { opener, events, links } = search({ neighbours: [DST, RELAY], src: SOURCE });
    Object.assign(links.get(DST) as object, { canOpen: false });
    opener[kOnReset]({} as MuxStream, error, 0);
    expect(events.slice(-2)).toEqual([`open ${RELAY}`, `relay window ${RELAY}`]);
    opener.cancel(0);
  });
});

describe('a neighbour that does not answer', () => {
  const THIRD = 'EAAAAAAAAAA';

  it('is given half a second to take the stream when there are others', () => {
    const { opener, events, pass } = search({ neighbours: [RELAY, THIRD] });
    pass(498);
    expect(events).not.toContain(`open ${THIRD}`);
    pass(4);
    expect(events.slice(-3)).toEqual([`penalise ${RELAY}`, `open ${THIRD}`, `relay window ${THIRD}`]);
    opener.cancel(0);
  });

  it('is given longer once it has taken the stream: it may be looking for a way itself', () => {
    const { opener, events, pass, streams } = search({ neighbours: [RELAY, THIRD] });
    streams[0].isAcknowledged = true;
    pass(1_490);
    expect(events).not.toContain(`open ${THIRD}`);
    pass(20);
    expect(events.slice(-3)).toEqual([`penalise ${RELAY}`, `open ${THIRD}`, `relay window ${THIRD}`]);
    opener.cancel(0);
  });

  it('is waited for longer when there is no other, and is not penalised when there was hardly any time', () => {
    const { opener, events, pass } = search({ neighbours: [RELAY] });
    pass(1_490);
    expect(events).toEqual([`open ${RELAY}`, `relay window ${RELAY}`]);
    pass(20);
    expect(events.slice(-2)).toEqual([`penalise ${RELAY}`, `no circuit: ${ReplyCode.TIMEOUT}`]);
    opener.cancel(0);

    const hasty = search({ neighbours: [RELAY], timeoutMs: 100 });
    hasty.pass(110);
    expect(hasty.events.at(-1)).toBe(`no circuit: ${ReplyCode.TIMEOUT}`);
    expect(hasty.events).not.toContain(`penalise ${RELAY}`);
  });
});

describe('a search with little time', () => {
  it('fails at once when no answer can come in time: other nodes have kept some', () => {
    const { events } = search({ neighbours: [RELAY], timeoutMs: 70, cost: 100 });
    expect(events).toEqual([`no circuit: ${ReplyCode.TIMEOUT}`]);
  });
});
