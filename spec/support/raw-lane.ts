// Lanes to an inbox without the sender's half of the library: what they write is up to the spec.

import type { Node, Socket } from '../../lib/index.js';
import {
  FrameDecoder,
  FrameType,
  FrameWriter,
  Kind,
  readNumber,
  readOutcome,
  readWelcome,
  type WelcomeFields,
} from '../../lib/messages/wire/frames.js';
import { CircuitKind, encodePreamble } from '../../lib/messages/wire/preamble.js';

export const SERVICE = 'orders';

/** The bytes of what `write` writes. */
export function frames(write: (writer: FrameWriter) => void): Buffer {
  const writer = new FrameWriter();
  write(writer);
  return Buffer.concat(writer.take());
}

/** A message of one text, with 10 s. */
export function message(number: number, text = 'x'): Buffer {
  return frames((writer) => writer.message(number, undefined, 10_000, Kind.TEXT, text, text.length, undefined));
}

/** A message of bytes that travel on a circuit of their own. */
export function messageApart(number: number, bytes: number, remainingMs = 10_000): Buffer {
  return frames((writer) => writer.messageApart(number, undefined, remainingMs, Kind.BYTES, bytes, undefined));
}

export function runOf(name: string): string {
  return name.padEnd(16);
}

/** Circuits to the inbox of the service. */
export class RawSender {
  private readonly sockets: Socket[] = [];

  constructor(private readonly node: Node) {}

  dial(): Socket {
    const socket = this.node.dial(`${SERVICE}:16`);
    socket.on('error', () => {});
    this.sockets.push(socket);
    return socket;
  }

  /** Opens a lane. Rejects when there is no welcome. */
  async lane(run: string, epoch: number, isResumed = false, outcomes = 0): Promise<RawLane> {
    const socket = this.dial();
    socket.write(encodePreamble({ kind: CircuitKind.LANE, run: runOf(run), epoch, isResumed, outcomes }));
    const lane = new RawLane(socket);
    await lane.welcomed;
    return lane;
  }

  /** The circuit for the content of a message. */
  body(run: string, epoch: number, number: number): Socket {
    const socket = this.dial();
    socket.write(encodePreamble({ kind: CircuitKind.BODY, run: runOf(run), epoch, number }));
    return socket;
  }

  /** Ends everything: what is left open would keep an inbox that closes waiting. */
  destroy(): void {
    for (const socket of this.sockets) socket.destroy();
  }
}

/** One lane. */
export class RawLane {
  welcome: WelcomeFields | undefined;
  readonly welcomed: Promise<void>;
  /** Messages whose contents were asked for. */
  readonly wanted: number[] = [];
  /** Outcomes by number. */
  readonly outcomes = new Map<number, number>();
  private wake: (() => void) | undefined;

  constructor(readonly socket: Socket) {
    const decoder = new FrameDecoder((type, bytes, from, to) => {
      if (type === FrameType.WELCOME) this.welcome = readWelcome(bytes, from, to);
      else if (type === FrameType.WANT) this.wanted.push(readNumber(bytes, from, to));
      else if (type === FrameType.OUTCOME) {
        const { number, code } = readOutcome(bytes, from, to);
        this.outcomes.set(number, code);
      }
    });
    socket.on('data', (chunk: Buffer) => {
      decoder.push(chunk);
      this.wake?.();
    });
    socket.once('close', () => this.wake?.());
    this.welcomed = this.until(() => this.welcome !== undefined);
  }

  get status(): number | undefined {
    return this.welcome?.status;
  }

  write(...bytes: Buffer[]): void {
    this.socket.write(Buffer.concat(bytes));
  }

  /** Resolves when `isTrue` of what has arrived. Rejects when the circuit is over before. */
  until(isTrue: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      this.wake = () => {
        if (isTrue()) resolve();
        else if (this.socket.destroyed) reject(new Error('closed'));
      };
      this.wake();
    });
  }

  /** Resolves with the outcome of a message. */
  async outcomeOf(number: number): Promise<number> {
    await this.until(() => this.outcomes.has(number));
    return this.outcomes.get(number) as number;
  }
}
