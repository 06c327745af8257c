// One circuit with frames on it, at either end: cuts what arrives into frames, and writes what its owner has to send once a turn.

import type { Socket } from '../socket/socket.js';
import { withoutContext } from '../util/runtime/no-context.js';
import { setImmediate } from '../util/runtime/real-timers.js';
import { throwLater } from '../util/runtime/throw-later.js';
import { FrameDecoder, FrameWriter, MalformedFrame } from './wire/frames.js';

/** Bytes that a circuit holds before its owner has to wait. */
const MAX_WAITING_BYTES = 512 * 1024;

/** What owners of a lane see of its circuit. */
export interface LaneCircuit {
  /** Asks for a call of `fill` at the end of this turn. */
  request(): void;
  /** Ends the circuit when everything is sent. */
  end(): void;
  /** Drops the circuit. The owner is not called any more. */
  destroy(): void;
}

export interface CircuitOwner {
  /** @throws MalformedFrame */
  onFrame(type: number, bytes: Buffer, from: number, to: number): void;
  /** Writes what there is to send. */
  fill(writer: FrameWriter): void;
  /** Called once when the circuit is gone. `malformed`: the peer has broken the protocol. */
  onLost(circuit: LaneCircuit, error: Error | undefined, malformed: boolean): void;
}

export class FrameCircuit implements LaneCircuit {
  private readonly writer = new FrameWriter();
  private readonly decoder: FrameDecoder;
  private isRequested = false;
  private isBlocked = false;
  private isOver = false;
  private readonly flush = (): void => {
    this.isRequested = false;
    if (this.isOver || this.isBlocked) return;
    this.owner.fill(this.writer);
    if (this.writer.bytes === 0) return;
    const { socket } = this;
    for (const piece of this.writer.take()) socket.write(piece);
    if (socket.writableLength > MAX_WAITING_BYTES) this.isBlocked = true;
  };

  /** The socket must be connected, or about to be. `first`: bytes that have been read already. */
  constructor(
    private readonly socket: Socket,
    private readonly owner: CircuitOwner,
  ) {
    this.decoder = new FrameDecoder((type, bytes, from, to) => {
      if (!this.isOver) owner.onFrame(type, bytes, from, to);
    });
    socket.on('data', (chunk: Buffer) => this.push(chunk));
    socket.on('drain', () => {
      this.isBlocked = false;
      this.request();
    });
    let failure: Error | undefined;
    socket.on('error', (error) => {
      failure = error;
    });
    // A lane has no half: whichever end is over, the circuit is.
    socket.on('end', () => this.lose(undefined));
    socket.on('close', () => this.lose(failure));
  }

  /** Takes bytes that have arrived. */
  push(chunk: Buffer): void {
    if (this.isOver) return;
    try {
      this.decoder.push(chunk);
    } catch (error) {
      if (!(error instanceof MalformedFrame)) throwLater(error);
      this.lose(error as Error, true);
    }
  }

  request(): void {
    if (this.isRequested || this.isBlocked) return;
    this.isRequested = true;
    // Not in a tick: what arrives in one turn comes in many ticks, and each answer would leave, and be answered, alone.
    withoutContext(setImmediate, this.flush);
  }

  end(): void {
    if (this.isOver) return;
    this.flush();
    this.isOver = true;
    this.socket.end();
  }

  destroy(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.socket.destroy();
  }

  private lose(error: Error | undefined, malformed = false): void {
    if (this.isOver) return;
    this.isOver = true;
    this.socket.destroy();
    this.owner.onLost(this, error, malformed);
  }
}
