import { describe, expect, it } from '@jest/globals';
import type { MuxStream } from '../../lib/mux/stream/stream.js';
import { ACK, data, FIN, goAway, pattern, ping, RST, SYN, windowUpdate } from '../support/frames.js';
import { sessionFixtures } from '../support/session-fixture.js';

const make = sessionFixtures();
const WINDOW = 256 * 1024;

/** SYNs for the given number of streams of a client, from id 1 on. */
function opens(count: number, first = 1): Buffer[] {
  return Array.from({ length: count }, (_, index) => windowUpdate(first + 2 * index, 0, SYN));
}

describe('Opening a stream', () => {
  it('sends the SYN with the first data of the turn', async () => {
    const fixture = await make();
    const { stream } = fixture.open();
    stream.write(Buffer.from('hello'));
    stream.write(Buffer.from('world'));
    expect(await fixture.answers()).toEqual(['DATA 2 SYN 5', 'DATA 2 5']);
    expect(fixture.open(Buffer.from('first')).stream.id).toBe(4);
    expect(await fixture.answers()).toEqual(['DATA 4 SYN 5']);
  });

  it('sends the SYN alone when there is nothing else by the end of the turn', async () => {
    const fixture = await make({ client: true });
    fixture.open();
    expect(await fixture.answers()).toEqual(['WINDOW 1 SYN 0']);
  });

  it('and ending it in the same turn is one frame', async () => {
    const fixture = await make();
    fixture.open().stream.end();
    expect(await fixture.answers()).toEqual(['WINDOW 2 SYN+FIN 0']);
  });

  it('and resetting it in the same turn sends nothing', async () => {
    const fixture = await make();
    fixture.open().stream.reset();
    const { stream } = fixture.open();
    stream.write(pattern(WINDOW));
    stream.close();
    expect(await fixture.answers()).toEqual([]);
    expect(fixture.session.streamCount).toBe(0);
  });

  it('is acknowledged by any frame of the peer but a reset', async () => {
    const fixture = await make();
    const answers = [windowUpdate(2, 0, ACK), data(4, 'x', ACK), data(6, 'x'), windowUpdate(8, 5), data(10, '', FIN)];
    const opened = answers.map(() => fixture.open());
    await fixture.answers();
    expect(opened.map(({ stream }) => stream.isAcknowledged)).toEqual(answers.map(() => false));
    await fixture.exchange(...answers);
    expect(opened.map(({ stream }) => stream.isAcknowledged)).toEqual(answers.map(() => true));
    const refused = fixture.open();
    await fixture.answers();
    await fixture.exchange(windowUpdate(12, 0, RST));
    expect(refused.sink.events).toEqual(['reset ERR_STARLANE_STREAM_RESET']);
    expect(fixture.session.streamCount).toBe(opened.length);
  });

  it('fails with an RST when the peer does not acknowledge it in time', async () => {
    const fixture = await make({ openTimeoutMs: 1_000, keepAliveMs: 0 });
    const slow = fixture.open();
    const { stream: acked, sink: ackedSink } = fixture.open();
    await fixture.answers();
    await fixture.exchange(windowUpdate(acked.id, 0, ACK));
    fixture.clock.advance(1_020);
    expect(await fixture.answers()).toEqual(['WINDOW 2 RST 0']);
    expect(slow.sink.events).toEqual(['reset ERR_STARLANE_OPEN_TIMEOUT']);
    expect(ackedSink.events).toEqual([]);
    expect(fixture.timers.size).toBe(0);
  });

  it('is refused after a go away of the peer, and while the session closes', async () => {
    const fixture = await make();
    const { stream } = fixture.open();
    await fixture.exchange(windowUpdate(2, 0, ACK), goAway(0));
    expect(fixture.goAways).toBe(1);
    expect(fixture.session.canOpen).toBe(false);
    expect(() => fixture.open()).toThrow(expect.objectContaining({ code: 'ERR_STARLANE_GO_AWAY' }));
    stream.write(Buffer.from('goes on'));
    expect(await fixture.answers()).toEqual(['DATA 2 7']);
    fixture.session.close();
    expect(() => fixture.open()).toThrow(expect.objectContaining({ code: 'ERR_STARLANE_CLOSED' }));
  });
});

describe('Opens without an answer', () => {
  it('are at most 256 at a time; the others follow in order as answers come', async () => {
    const fixture = await make();
    const opened = Array.from({ length: 600 }, (_, index) => fixture.open(Buffer.from(`stream ${index}`)));
    const ids = opened.map(({ stream }) => stream.id);
    const first = await fixture.answers();
    expect(first).toEqual(ids.slice(0, 256).map((id, index) => `DATA ${id} SYN ${`stream ${index}`.length}`));
    expect(await fixture.exchange(windowUpdate(ids[7], 0, ACK))).toEqual([`DATA ${ids[256]} SYN 10`]);
    // A refusal makes room as well.
    expect(await fixture.exchange(windowUpdate(ids[0], 0, RST), windowUpdate(ids[9], 0, ACK))).toEqual([
      `DATA ${ids[257]} SYN 10`,
      `DATA ${ids[258]} SYN 10`,
    ]);
    const rest = await fixture.exchange(...ids.slice(10, 400).map((id) => windowUpdate(id, 0, ACK)));
    expect(rest).toEqual(ids.slice(259).map((id, index) => `DATA ${id} SYN ${`stream ${259 + index}`.length}`));
  });

  it('that wait can be written, ended, reset and closed meanwhile', async () => {
    const fixture = await make({ maxUnackedOpens: 1 });
    fixture.open();
    const [ended, reset, closed, large, quiet] = Array.from({ length: 5 }, () => fixture.open());
    ended.stream.write(Buffer.from('all of it'));
    ended.stream.end();
    reset.stream.write(Buffer.from('none of it'));
    reset.stream.reset();
    closed.stream.close();
    large.stream.write(pattern(WINDOW + 1));
    expect(await fixture.answers()).toEqual(['WINDOW 2 SYN 0']);
    expect(await fixture.exchange(windowUpdate(2, 0, ACK))).toEqual(['DATA 4 SYN 9', 'WINDOW 4 FIN 0']);
    const data10 = await fixture.exchange(windowUpdate(4, 0, ACK));
    expect(data10[0]).toMatch(/^DATA 10 SYN /);
    expect(data10.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)).toBe(WINDOW);
    expect(await fixture.exchange(windowUpdate(10, 0, ACK))).toEqual(['WINDOW 12 SYN 0']);
    const sent = [ended, reset, closed, large, quiet].map(({ sink }) => sink.sentBytes);
    expect(sent).toEqual([9, 0, 0, WINDOW, 0]);
    expect([reset, closed, quiet].flatMap(({ sink }) => sink.events)).toEqual([]);
  });

  it('have a deadline that begins with the SYN', async () => {
    const fixture = await make({ maxUnackedOpens: 1, openTimeoutMs: 1_000, keepAliveMs: 0 });
    const [first, second] = [fixture.open(), fixture.open()];
    await fixture.answers();
    fixture.clock.advance(1_020);
    expect(await fixture.answers()).toEqual(['WINDOW 2 RST 0', 'WINDOW 4 SYN 0']);
    expect(first.sink.events).toEqual(['reset ERR_STARLANE_OPEN_TIMEOUT']);
    fixture.clock.advance(900);
    expect(second.sink.events).toEqual([]);
    fixture.clock.advance(120);
    expect(second.sink.events).toEqual(['reset ERR_STARLANE_OPEN_TIMEOUT']);
    expect(fixture.timers.size).toBe(0);
  });
});

describe('A stream that the peer opens', () => {
  it('is acknowledged with the first frame of the turn', async () => {
    const fixture = await make();
    expect(await fixture.exchange(windowUpdate(1, 0, SYN))).toEqual(['WINDOW 1 ACK 0']);
    fixture.onIncoming = (stream) => {
      stream.accept();
      stream.write(Buffer.from('welcome'));
    };
    expect(await fixture.exchange(data(3, 'hi', SYN))).toEqual(['DATA 3 ACK 7']);
    expect(fixture.sinks[1].received.toString()).toBe('hi');
  });

  it('brings credit, data and its end with the open', async () => {
    const fixture = await make();
    fixture.onIncoming = (stream) => {
      stream.accept();
      stream.write(pattern(WINDOW + 1_000));
      stream.end();
    };
    const answers = await fixture.exchange(windowUpdate(1, 1_000, SYN | FIN));
    expect(answers.reduce((sum, line) => sum + (line.startsWith('DATA') ? Number(line.split(' ').at(-1)) : 0), 0)).toBe(
      WINDOW + 1_000,
    );
    expect(fixture.sinks[0].events[0]).toBe('end');
    expect(fixture.session.streamCount).toBe(0);
  });

  it('waits until it is accepted, and keeps its data meanwhile', async () => {
    const fixture = await make();
    fixture.onIncoming = () => {};
    expect(await fixture.exchange(data(1, 'early', SYN))).toEqual([]);
    fixture.incoming[0].accept();
    expect(await fixture.answers()).toEqual(['WINDOW 1 ACK 0']);
    expect(fixture.sinks[0].received.toString()).toBe('early');
  });

  it('can be refused by a reset, at once or later', async () => {
    const fixture = await make();
    fixture.onIncoming = (stream) => {
      if (stream.id === 1) stream.reset();
    };
    expect(await fixture.exchange(data(1, 'ignored', SYN), data(3, 'kept', SYN))).toEqual(['WINDOW 1 RST 0']);
    fixture.incoming[1].reset();
    expect(await fixture.answers()).toEqual(['WINDOW 3 RST 0']);
    expect(fixture.session.streamCount).toBe(0);
    expect(fixture.session.unreadBytes).toBe(0);
    expect(await fixture.exchange(data(1, 'on its way'), data(3, 'on its way', FIN), ping(1))).toEqual(['PING ACK 1']);
  });

  it('is refused while the accept backlog is full', async () => {
    const fixture = await make({ acceptBacklog: 2 });
    fixture.onIncoming = () => {};
    expect(await fixture.exchange(...opens(4))).toEqual(['WINDOW 5 RST 0', 'WINDOW 7 RST 0']);
    fixture.incoming[0].accept();
    expect(await fixture.exchange(...opens(2, 9))).toEqual(['WINDOW 11 RST 0', 'WINDOW 1 ACK 0']);
    fixture.incoming[1].reset();
    expect(await fixture.exchange(...opens(2, 13))).toEqual(['WINDOW 3 RST 0', 'WINDOW 15 RST 0']);
    await fixture.exchange(windowUpdate(9, 0, RST));
    expect(await fixture.exchange(...opens(2, 17))).toEqual(['WINDOW 19 RST 0']);
  });

  it('counts in the backlog once, even if it is accepted after the peer has reset it', async () => {
    const fixture = await make({ acceptBacklog: 2 });
    const late: MuxStream[] = [];
    fixture.onIncoming = (stream) => late.push(stream);
    for (let id = 1; id < 20; id += 2) await fixture.exchange(windowUpdate(id, 0, SYN), windowUpdate(id, 0, RST));
    for (const stream of late) stream.accept();
    expect(await fixture.exchange(...opens(4, 21))).toEqual(['WINDOW 25 RST 0', 'WINDOW 27 RST 0']);
  });

  it('is refused when the peer has reached its limit of open streams', async () => {
    const fixture = await make({ maxStreams: 3 });
    expect(await fixture.exchange(...opens(4))).toEqual([
      'WINDOW 7 RST 0',
      ...[1, 3, 5].map((id) => `WINDOW ${id} ACK 0`),
    ]);
    fixture.incoming[0].reset();
    expect(await fixture.exchange(...opens(1, 9))).toEqual(['WINDOW 1 RST 0', 'WINDOW 9 ACK 0']);
  });

  it('is refused after a go away of this side, while other streams continue', async () => {
    const fixture = await make();
    await fixture.exchange(windowUpdate(1, 0, SYN));
    fixture.session.goAway();
    fixture.session.goAway();
    const answers = await fixture.exchange(data(3, 'too late', SYN), data(1, 'goes on'));
    expect(answers).toEqual(['GOAWAY 0', 'WINDOW 3 RST 0']);
    expect(fixture.sinks[0].received.toString()).toBe('goes on');
    expect(fixture.incoming).toHaveLength(1);
  });
});

describe('Stream ids', () => {
  it('have the parity of their side: odd for the client, even for the server', async () => {
    const client = await make({ client: true });
    expect([client.open(), client.open()].map(({ stream }) => stream.id)).toEqual([1, 3]);
    const server = await make({ client: false });
    expect([server.open(), server.open()].map(({ stream }) => stream.id)).toEqual([2, 4]);
  });

  it('work past 2^31 in both directions', async () => {
    const fixture = await make({ firstStreamId: 2 ** 31 - 2 });
    const opened = Array.from({ length: 3 }, () => fixture.open(Buffer.from('x')));
    const ids = opened.map(({ stream }) => stream.id);
    expect(ids).toEqual([2 ** 31 - 2, 2 ** 31, 2 ** 31 + 2]);
    expect(await fixture.answers()).toEqual(ids.map((id) => `DATA ${id} SYN 1`));
    const theirs = [2 ** 31 - 1, 2 ** 31 + 1, 0xffff_ffff];
    await fixture.exchange(...ids.map((id) => data(id, 'yes', ACK)), ...theirs.map((id) => data(id, 'hi', SYN)));
    expect(opened.map(({ sink }) => sink.received.toString())).toEqual(['yes', 'yes', 'yes']);
    expect(fixture.incoming.map(({ id }) => id)).toEqual(theirs);
    expect(fixture.sinks.map((sink) => sink.received.toString())).toEqual(['hi', 'hi', 'hi']);
  });

  it('run out at 2^32 with a foreign peer, while open streams continue', async () => {
    const fixture = await make({ firstStreamId: 0xffff_fffe });
    const { stream, sink } = fixture.open();
    expect(stream.id).toBe(0xffff_fffe);
    expect(() => fixture.open()).toThrow(expect.objectContaining({ code: 'ERR_STARLANE_STREAMS_EXHAUSTED' }));
    await fixture.answers();
    await fixture.exchange(data(stream.id, 'still here', ACK));
    expect(sink.received.toString()).toBe('still here');
  });

  it('wrap between Starlane peers, and skip live streams', async () => {
    const fixture = await make({ firstStreamId: 0xffff_fffc, starlanePeer: true });
    const ids = Array.from({ length: 4 }, () => fixture.open().stream.id);
    expect(ids).toEqual([0xffff_fffc, 0xffff_fffe, 2, 4]);
    await fixture.answers();
    await fixture.exchange(...ids.map((id) => windowUpdate(id, 0, ACK)), windowUpdate(4, 0, RST));
    Reflect.set(Reflect.get(Reflect.get(fixture.session, 'streams'), 'ids'), 'next', 0xffff_fffe);
    expect(Array.from({ length: 2 }, () => fixture.open().stream.id)).toEqual([4, 6]);
  });
});
