// The contents of messages and answers that travel on circuits of their own, at the sender of the message: both circuits are dialled from
// here. What breaks off begins again on another circuit, until the time of the message is over; only a stream cannot.

import type { Readable } from 'node:stream';
import { netError } from '../../errors.js';
import type { Socket } from '../../socket/socket.js';
import { backOffMs } from '../../util/back-off.js';
import { chance } from '../../util/choice.js';
import { Deadline } from '../../util/deadline.js';
import type { Timers } from '../../util/timers.js';
import { readStream, readWhole, writeContent } from '../transfer.js';
import { Kind } from '../wire/frames.js';
import { CircuitKind, encodePreamble } from '../wire/preamble.js';
import type { Lane } from './lane.js';
import type { Outgoing } from './outgoing.js';

const RETRY = { minMs: 50, maxMs: 1_000 };

/** How long another circuit is tried for an answer. The receiver keeps it as long. */
export const FETCH_MS = 30_000;

export interface ApartHost {
  readonly timers: Timers;
  readonly maxAnswerBytes: number;
  /** Dials the receiver of a lane. */
  dialContent(lane: Lane, timeoutMs: number): Socket;
}

/** Sends the content of a message that the receiver wants. */
export function sendContent(host: ApartHost, lane: Lane, out: Outgoing): void {
  const { content } = out;
  if (out.isSettled || out.isSourceUsed) {
    lane.refuseBody(out);
    return;
  }
  out.giveUpContent?.();
  if (content.source !== undefined) out.isSourceUsed = true;
  const socket = host.dialContent(lane, out.remainingMs(host.timers.now()));
  socket.on('error', () => {});
  out.giveUpContent = () => socket.destroy();
  socket.write(encodePreamble({ kind: CircuitKind.BODY, ...lane.name, number: out.number }));
  writeContent(socket, content).then(
    // The receiver ends the circuit when it has everything.
    () => socket.resume(),
    () => {
      socket.destroy();
      // The receiver asks again when it can; a stream does not come again.
      if (content.source !== undefined && !out.isSettled) lane.refuseBody(out);
    },
  );
}

/** Gets the answer to a call that has been handled. */
export class Fetch {
  private failures = 0;
  private socket: Socket | undefined;
  private readonly retry: Deadline;
  private readonly untilMs: number;
  private isOver = false;

  constructor(
    private readonly host: ApartHost,
    private readonly lane: Lane,
    private readonly out: Outgoing,
    private readonly kind: number,
    private readonly owner: {
      onAnswer(payload: Buffer): void;
      onStream(stream: Readable): void;
      onTooLong(): void;
      /** The receiver does not have it any more. */
      onLost(error: Error): void;
    },
  ) {
    lane.hold();
    this.untilMs = host.timers.now() + FETCH_MS;
    this.retry = new Deadline(host.timers, () => this.dial());
    out.giveUpContent = () => {
      this.socket?.destroy();
      this.end();
    };
    this.dial();
  }

  private end(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.retry.clear();
    this.lane.release();
  }

  private again(error: Error): void {
    if (this.isOver || this.out.isSettled) this.end();
    else if (this.host.timers.now() >= this.untilMs) {
      this.end();
      this.owner.onLost(error);
    } else this.retry.set(backOffMs(this.failures++, RETRY, chance));
  }

  private dial(): void {
    const { host, lane, out } = this;
    const now = host.timers.now();
    const socket = host.dialContent(lane, Math.max(1, Math.min(out.remainingMs(now), this.untilMs - now)));
    this.socket = socket;
    socket.write(encodePreamble({ kind: CircuitKind.FETCH, ...lane.name, number: out.number }));
    if (this.kind === Kind.STREAM) this.readStream(socket);
    else {
      readWhole(socket, Buffer.alloc(0), undefined, host.maxAnswerBytes, {
        onWhole: (bytes) => {
          this.end();
          this.owner.onAnswer(bytes);
        },
        onBroken: (error) => this.again(error),
        onMisfit: () => {
          this.end();
          this.owner.onTooLong();
        },
      });
    }
  }

  private readStream(socket: Socket): void {
    let isConnected = false;
    let failure: Error = netError('ECONNRESET', 'connect', { address: this.out.target });
    socket.on('error', (error) => {
      failure = error;
    });
    socket.once('connect', () => {
      isConnected = true;
      this.out.giveUpContent = undefined;
      const stream = readStream(socket, Buffer.alloc(0));
      socket.once('close', () => this.end());
      this.owner.onStream(stream);
    });
    socket.once('close', () => {
      if (!isConnected) this.again(failure);
    });
  }
}
