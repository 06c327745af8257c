import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import { Control, ControlTurns } from '../../../lib/link/handshake/control.js';
import { kOnData, kOnEnd, kOnReset } from '../../../lib/mux/hidden.js';
import type { MuxStream } from '../../../lib/mux/stream/stream.js';
import { encodeMessageOf, MessageType } from '../../../lib/wire/messages.js';
import { turnsUntil } from '../../support/turns.js';

/** 17 bytes. */
function digest(count: number): Buffer {
  return encodeMessageOf({ type: MessageType.DIGEST, rootHigh: 1, rootLow: 2, count });
}

class Peer {
  readonly heard: number[] = [];
  readonly closed: (Error | undefined)[] = [];
  consumed = 0;
  readonly control: Control;
  private readonly stream = {
    consumed: (bytes: number) => {
      this.consumed += bytes;
    },
  } as MuxStream;

  constructor(turns: ControlTurns) {
    this.control = new Control(
      {
        onMessage: (message) => this.heard.push('count' in message ? message.count : -1),
        onControlDrain: () => {},
        onControlClose: (error) => this.closed.push(error),
      },
      turns,
    );
    this.control.attach(this.stream);
  }

  /** Comes in memory that is used again at once, as that of a link. */
  send(bytes: Buffer): void {
    const lent = Buffer.from(bytes);
    this.control[kOnData](this.stream, lent);
    lent.fill(0);
  }

  sendDigests(from: number, to: number): void {
    const all = Array.from({ length: to - from }, (_, n) => digest(from + n));
    this.send(Buffer.concat(all));
  }

  reset(): void {
    this.control[kOnReset](this.stream, new Error('reset'));
  }
}

function upTo(count: number): number[] {
  return Array.from({ length: count }, (_, n) => n);
}

const SIZE = digest(0).length;

describe('control messages of peers', () => {
  it('is taken in at once when it is little', () => {
    const peer = new Peer(new ControlTurns());
    peer.sendDigests(0, 20);
    expect(peer.heard).toEqual(upTo(20));
    expect(peer.consumed).toBe(20 * SIZE);
  });

  it('is taken in over several turns when it is much, in order, and has no credit before', async () => {
    const peer = new Peer(new ControlTurns(10 * SIZE + 3));
    peer.sendDigests(0, 15);
    peer.sendDigests(15, 25);
    expect([peer.heard.length, peer.consumed]).toEqual([10, 10 * SIZE + 3]);
    await turn();
    expect([peer.heard.length, peer.consumed]).toEqual([20, 20 * SIZE + 6]);
    await turn();
    expect(peer.heard).toEqual(upTo(25));
    expect(peer.consumed).toBe(25 * SIZE);
  });

  it('is taken in of each link by turns: one that floods does not keep another waiting', async () => {
    const turns = new ControlTurns(10 * SIZE);
    const [flood, calm] = [new Peer(turns), new Peer(turns)];
    flood.sendDigests(0, 1_000);
    calm.sendDigests(0, 3);
    expect([flood.heard.length, calm.heard.length]).toEqual([10, 0]);
    await turn();
    expect(calm.heard).toEqual([0, 1, 2]);
    expect(flood.heard.length).toBe(17);
    calm.sendDigests(3, 4);
    expect(calm.heard.length).toBe(3);
    await turn();
    expect(calm.heard.length).toBe(4);
  });

  it('is taken in before the end of the stream, however many turns that takes', async () => {
    const peer = new Peer(new ControlTurns(2 * SIZE));
    peer.sendDigests(0, 5);
    peer.control[kOnEnd]();
    expect(peer.closed).toEqual([]);
    await turn();
    await turn();
    expect(peer.heard).toEqual(upTo(5));
    expect(peer.closed).toEqual([undefined]);
  });

  it('is forgotten when the stream is reset, or is no message', async () => {
    const turns = new ControlTurns(2 * SIZE);
    const [gone, wrong] = [new Peer(turns), new Peer(turns)];
    gone.sendDigests(0, 5);
    gone.reset();
    expect([gone.closed.length, turns.size]).toEqual([1, 0]);
    await turn();
    expect(gone.heard.length).toBe(2);
    wrong.send(Buffer.concat([digest(0), Buffer.alloc(3 * SIZE, 0xff), digest(1)]));
    for (let count = 0; count < 3; count++) await turn();
    expect(wrong.closed.map((error) => (error as { code?: string } | undefined)?.code)).toEqual([
      'ERR_STARLANE_MESSAGE',
    ]);
    expect([wrong.heard, turns.size]).toEqual([[0], 0]);
  });

  it('is taken in by pieces of 2 KiB at least, of as many links as that gives, and then of the others', async () => {
    const turns = new ControlTurns(32 * 1024);
    const taken: Array<[link: number, bytes: number]> = [];
    const inputs = Array.from({ length: 100 }, (_, link) => {
      let left = 3_000;
      return {
        takeIn(bytes: number): number {
          const count = Math.min(bytes, left);
          left -= count;
          taken.push([link, count]);
          return count;
        },
      };
    });
    turns.claim(32 * 1024);
    for (const input of inputs) turns.wait(input);
    await turn();
    expect(taken).toEqual(Array.from({ length: 16 }, (_, link) => [link, 2_048]));
    await turnsUntil('all is taken in', () => turns.size === 0, 20);
    expect(taken.slice(16, 100)).toEqual(Array.from({ length: 84 }, (_, n) => [16 + n, 2_048]));
    expect(taken.reduce((sum, [, bytes]) => sum + bytes, 0)).toBe(100 * 3_000);
  });
});
