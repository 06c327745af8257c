import { describe, expect, it } from '@jest/globals';
import { ACK, data, dataHeader, FIN, goAway, pattern, ping, RST, SYN, windowUpdate } from '../support/frames.js';
import { type SessionFixture, sessionFixtures } from '../support/session-fixture.js';
import { turn } from '../support/turns.js';
import { MALFORMED } from '../support/vectors.js';

const make = sessionFixtures();
const WINDOW = 256 * 1024;
const MIB = 1024 * 1024;

/** Checks that the session has ended for a fault of the peer, and that the peer and every stream were notified. */
async function expectFault(fixture: SessionFixture, answers: string[], code = 'ERR_STARLANE_PROTOCOL'): Promise<void> {
  expect(answers.filter((line) => line.startsWith('GOAWAY 1'))).toHaveLength(1);
  expect(fixture.closeCodes).toEqual([code]);
  for (const sink of fixture.sinks) expect(sink.events.at(-1)).toBe(`reset ${code}`);
  expect(fixture.session.streamCount).toBe(0);
  expect(fixture.peer.sawEnd).toBe(true);
  // Nothing that follows is read.
  expect(await fixture.exchange(windowUpdate(101, 0, SYN), ping(1))).toEqual([]);
  fixture.peer.feedEnd();
  await turn();
  expect(fixture.peer.destroyed).toBe(true);
}

describe('A peer that breaks the protocol gets the reason and loses the link:', () => {
  for (const [name, hex] of MALFORMED) {
    it(name, async () => {
      const fixture = await make();
      await fixture.exchange(windowUpdate(1, 0, SYN));
      await expectFault(fixture, await fixture.exchange(Buffer.from(hex, 'hex')));
    });
  }

  const faults: Array<[name: string, frames: () => Buffer[], code?: string]> = [
    ['a SYN for a stream that is open', () => [windowUpdate(1, 0, SYN), windowUpdate(1, 0, SYN)]],
    ['a SYN with data for a stream that is open', () => [data(1, 'a', SYN), data(1, 'b', SYN)]],
    ['a SYN for an id of this side', () => [windowUpdate(1, 0, SYN), windowUpdate(2, 0, SYN)]],
    ['data after its end', () => [data(1, 'a', SYN | FIN), data(1, 'b')]],
    ['a second end', () => [windowUpdate(1, 0, SYN | FIN), windowUpdate(1, 0, FIN)]],
    ['a second end with data', () => [windowUpdate(1, 0, SYN | FIN), data(1, 'x', FIN)]],
    ['more credit than a window can hold', () => [windowUpdate(1, 0, SYN), windowUpdate(1, 0xffff_ffff)]],
    [
      'credit that adds up to more than a window can hold',
      () => [
        windowUpdate(1, 0, SYN),
        windowUpdate(1, 0x7fff_ffff),
        windowUpdate(1, 0x7fff_ffff),
        windowUpdate(1, WINDOW),
      ],
    ],
    [
      'data beyond the window, in one frame',
      () => [windowUpdate(1, 0, SYN), data(1, pattern(WINDOW + 1))],
      'ERR_STARLANE_WINDOW_OVERRUN',
    ],
    ['data beyond the window, with the open', () => [data(1, pattern(WINDOW + 1), SYN)], 'ERR_STARLANE_WINDOW_OVERRUN'],
    ['a length of 4 GiB', () => [windowUpdate(1, 0, SYN), dataHeader(1, 0xffff_ffff)], 'ERR_STARLANE_WINDOW_OVERRUN'],
  ];
  for (const [name, frames, code] of faults) {
    it(name, async () => {
      const fixture = await make();
      await expectFault(fixture, await fixture.exchange(...frames()), code);
    });
  }

  it('data beyond the window, in many frames to a reader that is paused', async () => {
    const fixture = await make();
    await fixture.exchange(windowUpdate(1, 0, SYN));
    fixture.sinks[0].paused = true;
    for (let frame = 0; frame < 16; frame++) await fixture.exchange(data(1, pattern(WINDOW / 16)));
    expect(fixture.closes).toEqual([]);
    await expectFault(fixture, await fixture.exchange(data(1, '!')), 'ERR_STARLANE_WINDOW_OVERRUN');
    expect(fixture.sinks[0].received).toHaveLength(WINDOW);
  });

  it('with a fault in the middle of a chunk: what came before counts, what follows does not', async () => {
    const fixture = await make();
    const answers = await fixture.exchange(data(1, 'good', SYN), data(3, 'x', SYN | FIN), data(3, 'y'), data(1, 'bad'));
    await expectFault(fixture, answers);
    expect(fixture.sinks[0].received.toString()).toBe('good');
  });

  it('even while this side is closing', async () => {
    const fixture = await make();
    await fixture.exchange(windowUpdate(1, 0, SYN));
    fixture.session.close();
    expect(await fixture.answers()).toEqual(['GOAWAY 0']);
    await expectFault(fixture, await fixture.exchange(windowUpdate(1, 0, SYN)));
  });

  it('for any random input, without an exception', async () => {
    for (let seed = 0; seed < 200; seed++) {
      const fixture = await make({ client: seed % 2 === 0 });
      fixture.open(Buffer.from('x'));
      const noise = pattern(200, seed);
      // A plausible start, so that noise reaches every part of a header.
      for (let offset = 0; offset < noise.length; offset += 12) noise[offset] = 0;
      for (let offset = 1; offset < noise.length; offset += 12) noise[offset] %= 4;
      for (let offset = 2; offset < noise.length; offset += 12) noise[offset] = 0;
      for (let offset = 3; offset < noise.length; offset += 12) noise[offset] %= 16;
      fixture.peer.feed(noise);
      fixture.peer.feedEnd();
      await turn();
      expect(fixture.closes).toHaveLength(1);
      expect(fixture.session.streamCount).toBe(0);
    }
  });
});

describe('A session ignores, as the specification requires:', () => {
  it('frames for unknown streams, with and without payload', async () => {
    const fixture = await make();
    const answers = await fixture.exchange(
      data(9, 'nobody'),
      windowUpdate(9, 100),
      windowUpdate(9, 0, FIN),
      windowUpdate(9, 0, RST),
      windowUpdate(9, 0, ACK),
      data(8, 'nobody', ACK),
      dataHeader(11, 5),
      Buffer.from('12345'),
      ping(77),
    );
    expect(answers).toEqual(['PING ACK 77']);
    expect(fixture.closes).toEqual([]);
    expect(fixture.session.bytesIn).toBeGreaterThan(100);
  });

  it('a payload of 4 GiB for an unknown stream, byte by byte', async () => {
    const fixture = await make();
    await fixture.exchange(dataHeader(9, 0xffff_ffff), pattern(MIB), pattern(MIB));
    expect(fixture.closes).toEqual([]);
    expect(fixture.session.unreadBytes).toBe(0);
  });

  it('answers to pings that it has not sent', async () => {
    const fixture = await make();
    expect(await fixture.exchange(ping(123, ACK), ping(0xffff_ffff, ACK))).toEqual([]);
    expect(fixture.closes).toEqual([]);
  });

  it('a second go away', async () => {
    const fixture = await make();
    await fixture.exchange(goAway(0), goAway(0));
    expect(fixture.goAways).toBe(1);
    expect(fixture.closes).toEqual([]);
  });
});

describe('A peer that floods:', () => {
  it('pings are answered with their own bytes', async () => {
    const fixture = await make();
    expect(await fixture.exchange(ping(0), ping(0xdead_beef), ping(1))).toEqual([
      'PING ACK 0',
      `PING ACK ${0xdead_beef}`,
      'PING ACK 1',
    ]);
  });

  it('opens are refused beyond the backlog, and take no memory', async () => {
    const fixture = await make();
    fixture.onIncoming = () => {};
    const syns = Array.from({ length: 20_000 }, (_, index) => data(1 + 2 * index, 'x', SYN));
    const answers = await fixture.exchange(...syns);
    expect(fixture.session.streamCount).toBe(256);
    expect(answers).toHaveLength(20_000 - 256);
    expect(answers[0]).toBe(`WINDOW ${1 + 2 * 256} RST 0`);
    expect(fixture.session.unreadBytes).toBe(0);
  });

  it('opens that are reset at once leave nothing behind', async () => {
    const fixture = await make({ acceptBacklog: 4 });
    for (let id = 1; id < 20_000; id += 2) fixture.peer.feed(data(id, 'x', SYN), windowUpdate(id, 0, RST));
    await turn();
    expect(fixture.session.streamCount).toBe(0);
    expect(fixture.session.unreadBytes).toBe(0);
    expect(await fixture.exchange(windowUpdate(30_001, 0, SYN))).toEqual(['WINDOW 30001 ACK 0']);
  });

  it('pings without reading the answers end the link in bounded memory', async () => {
    const fixture = await make();
    fixture.peer.block();
    const many = Buffer.concat(Array(20_000).fill(ping(5)));
    for (let chunk = 0; chunk < 100 && fixture.closes.length === 0; chunk++) {
      fixture.peer.feed(many);
      await turn();
    }
    expect(fixture.closeCodes).toEqual(['ERR_STARLANE_CONTROL_FLOOD']);
    expect(fixture.peer.writableLength + fixture.peer.writtenBytes).toBeLessThan(20 * MIB);
    expect(fixture.session.bytesIn).toBeLessThan(20 * MIB);
  });

  it('opens without reading the refusals end the link in bounded memory', async () => {
    const fixture = await make({ acceptBacklog: 1 });
    fixture.onIncoming = () => {};
    fixture.peer.block();
    let id = 1;
    for (let chunk = 0; chunk < 100 && fixture.closes.length === 0; chunk++) {
      const syns = Buffer.alloc(12 * 20_000);
      for (let offset = 0; offset < syns.length; offset += 12, id += 2) windowUpdate(id, 0, SYN).copy(syns, offset);
      fixture.peer.feed(syns);
      await turn();
    }
    expect(fixture.closeCodes).toEqual(['ERR_STARLANE_CONTROL_FLOOD']);
    expect(fixture.session.bytesIn).toBeLessThan(20 * MIB);
  });
});

describe('Input that ends', () => {
  const input = Buffer.concat([data(1, 'hello', SYN), windowUpdate(1, 10), ping(1), data(1, 'bye', FIN)]);
  /** Where one frame ends and the next begins. */
  const boundaries = [0, 17, 29, 41, 56];

  it('inside a frame is a protocol error, at every byte', async () => {
    for (let end = 0; end <= input.length; end++) {
      const fixture = await make();
      fixture.peer.feed(input.subarray(0, end));
      fixture.peer.feedEnd();
      const answers = await fixture.answers();
      const atBoundary = boundaries.includes(end);
      expect(fixture.closeCodes).toEqual([atBoundary ? 'ERR_STARLANE_LINK_LOST' : 'ERR_STARLANE_PROTOCOL']);
      expect(answers.includes('GOAWAY 1')).toBe(!atBoundary);
      expect(fixture.peer.destroyed).toBe(true);
    }
  });

  it('inside the payload of an unknown stream is a protocol error too', async () => {
    const fixture = await make();
    fixture.peer.feed(dataHeader(9, 10), Buffer.from('12345'));
    fixture.peer.feedEnd();
    await turn();
    expect(fixture.closeCodes).toEqual(['ERR_STARLANE_PROTOCOL']);
  });
});
