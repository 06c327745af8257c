// The control stream by itself: how much of it a turn reads, and what becomes of the rest.

import { beforeEach, describe, expect, it } from '@jest/globals';
import { Control, type ControlOwner } from '../../lib/link/control.js';
import type { MuxStream } from '../../lib/mux/mux-stream.js';
import { encodeMessage } from '../../lib/wire/message-envelope.js';
import { encodeGoodbye, GoodbyeCode, type Message, MessageType } from '../../lib/wire/messages.js';
import { FakeClock } from '../support/fake-clock.js';

const KIB = 1024;
const DIGEST = encodeMessage(MessageType.DIGEST, [Buffer.alloc(12)]);
/** As much as one poll of a socket may bring. */
const FLOOD = Buffer.concat(Array<Buffer>(Math.ceil((512 * KIB) / DIGEST.length)).fill(DIGEST));

class Scene implements ControlOwner {
  readonly clock = new FakeClock();
  readonly control = new Control(this, this.clock);
  readonly messages: Message[] = [];
  /** What the peer got credit for. */
  consumed = 0;
  closed: Array<Error | undefined> = [];
  whenTold = (_message: Message): void => {};
  readonly stream = {
    consumed: (bytes: number) => {
      this.consumed += bytes;
    },
  } as MuxStream;

  constructor() {
    this.control.attach(this.stream);
  }

  get bytesRead(): number {
    return this.messages.length * DIGEST.length;
  }

  brings(bytes: Buffer): void {
    for (let at = 0; at < bytes.length; at += 64 * KIB) {
      this.control.onData(this.stream, bytes.subarray(at, at + 64 * KIB));
    }
  }

  /** How many turns it takes until nothing is left to be read. */
  turns(): number {
    let turns = 0;
    for (; this.clock.immediatesWaiting > 0; turns++) this.clock.runImmediates();
    return turns;
  }

  onMessage(message: Message): void {
    this.messages.push(message);
    this.whenTold(message);
  }

  onControlDrain(): void {}

  onControlClose(error: Error | undefined): void {
    this.closed.push(error);
  }
}

describe('The control stream', () => {
  let scene: Scene;
  beforeEach(() => {
    scene = new Scene();
  });

  it('reads a message in the turn that brings it', () => {
    scene.brings(DIGEST);
    expect(scene.messages).toHaveLength(1);
    expect(scene.consumed).toBe(DIGEST.length);
  });

  it('reads no more than 16 KiB of a flood in one turn, and all of it in the end', () => {
    scene.brings(FLOOD);
    expect(scene.bytesRead).toBeLessThanOrEqual(16 * KIB);
    for (let before = scene.bytesRead; scene.clock.immediatesWaiting > 0; before = scene.bytesRead) {
      scene.clock.runImmediates();
      expect(scene.bytesRead - before).toBeLessThanOrEqual(16 * KIB + DIGEST.length);
    }
    expect(scene.bytesRead).toBe(FLOOD.length);
  });

  it('counts what several chunks bring in one turn together', () => {
    for (let chunk = 0; chunk < 8; chunk++) scene.brings(FLOOD.subarray(0, 4 * KIB));
    expect(scene.consumed).toBe(16 * KIB);
  });

  it('gives the peer credit for what it has read, and for nothing else', () => {
    scene.brings(FLOOD);
    expect(scene.consumed).toBe(16 * KIB);
    scene.turns();
    expect(scene.consumed).toBe(FLOOD.length);
  });

  it('keeps the order when a message brings another in', () => {
    const goodbye = encodeGoodbye({ code: GoodbyeCode.NORMAL, reason: '' });
    scene.whenTold = () => {
      scene.whenTold = () => {};
      scene.brings(goodbye);
    };
    scene.brings(Buffer.concat([DIGEST, DIGEST]));
    scene.turns();
    expect(scene.messages.map(({ type }) => type)).toEqual([
      MessageType.DIGEST,
      MessageType.DIGEST,
      MessageType.GOODBYE,
    ]);
  });

  it('tells its end behind the last message', () => {
    scene.brings(FLOOD);
    scene.control.onEnd();
    expect(scene.closed).toEqual([]);
    scene.turns();
    expect(scene.bytesRead).toBe(FLOOD.length);
    expect(scene.closed).toEqual([undefined]);
  });

  it('tells a malformed message once, and reads nothing behind it', () => {
    scene.brings(Buffer.concat([DIGEST, Buffer.from('ffffffff06', 'hex'), FLOOD]));
    scene.turns();
    expect(scene.messages).toHaveLength(1);
    expect(scene.closed).toEqual([expect.objectContaining({ code: 'ERR_STARLANE_MESSAGE' })]);
  });

  it('reads what came before the loss of the link, the reason that the peer gave for it most of all', () => {
    scene.brings(FLOOD.subarray(0, 5_000 * DIGEST.length));
    scene.brings(encodeGoodbye({ code: GoodbyeCode.LIMIT, reason: 'enough' }));
    scene.control.readLast();
    expect(scene.messages.at(-1)).toMatchObject({ type: MessageType.GOODBYE, code: GoodbyeCode.LIMIT });
    expect(scene.turns()).toBeLessThanOrEqual(1);
  });

  it('reads no more than 256 KiB of it then', () => {
    scene.brings(FLOOD);
    scene.control.readLast();
    const { bytesRead } = scene;
    expect(bytesRead).toBeGreaterThan(256 * KIB);
    expect(bytesRead).toBeLessThanOrEqual(272 * KIB);
    scene.brings(FLOOD);
    scene.turns();
    expect(scene.bytesRead).toBe(bytesRead);
  });

  it('reads nothing more once it is dropped', () => {
    scene.brings(FLOOD);
    scene.control.drop();
    scene.brings(FLOOD);
    scene.turns();
    expect(scene.bytesRead).toBeLessThanOrEqual(16 * KIB);
  });
});
