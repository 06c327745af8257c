// Joins two duplexes, such as a socket of this machine and a circuit: bytes, half-close, resets and back-pressure, in both directions.
//
// Not by stream.pipeline: it costs several times as much for each connection, and knows only errors where TCP knows an end and a reset.

import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/** What ended it, if that was not the end of both directions. */
export interface Break {
  /** Whether the socket of this machine failed, or the circuit. */
  readonly side: 'local' | 'circuit';
  readonly error: Error;
}

export class Passage {
  private broken: Break | undefined;
  private openEnds = 2;

  constructor(
    readonly local: Duplex,
    readonly circuit: Duplex,
    /** Called once, when both have closed. */
    private readonly onOver: (passage: Passage, broken: Break | undefined) => void = () => {},
  ) {
    flow(local, circuit);
    flow(circuit, local);
    local.on('error', (error: Error) => this.onError('local', error));
    circuit.on('error', (error: Error) => this.onError('circuit', error));
    local.once('close', () => this.onClose(local, circuit));
    circuit.once('close', () => this.onClose(circuit, local));
    // Paused ones wait for this.
    local.resume();
    circuit.resume();
  }

  /** Ends both at once, as a reset. */
  reset(): void {
    reset(this.local);
    reset(this.circuit);
  }

  private onError(side: Break['side'], error: Error): void {
    this.broken ??= { side, error };
    reset(side === 'local' ? this.circuit : this.local);
  }

  private onClose(closed: Duplex, other: Duplex): void {
    // Closed before its time: the other one must not take what it got for all there was.
    if (!closed.readableEnded || !closed.writableFinished) reset(other);
    if (--this.openEnds === 0) this.onOver(this, this.broken);
  }
}

function flow(from: Duplex, to: Duplex): void {
  from.on('data', (chunk: Buffer) => {
    if (!to.write(chunk)) from.pause();
  });
  to.on('drain', () => from.resume());
  // A socket whose peer has ended without a byte emits 'end' at once, also before anybody listens.
  if (from.readableEnded) to.end();
  else from.once('end', () => to.end());
}

interface Resettable {
  readonly connecting?: boolean;
  resetAndDestroy?(): unknown;
}

/** Ends a stream at once, so that its peer sees a reset where that is possible: not after the end was sent, and not over unix sockets. */
export function reset(stream: Duplex): void {
  if (stream.destroyed) return;
  const { connecting, resetAndDestroy } = stream as Resettable;
  // The kernel resets no connection whose end was sent.
  const hasSentEnd = stream instanceof Socket && stream.writableEnded && stream.writableLength === 0;
  // A dial that goes on for the sake of its reset would hold the other end up.
  if (resetAndDestroy === undefined || connecting === true || hasSentEnd) {
    stream.destroy();
    return;
  }
  try {
    resetAndDestroy.call(stream);
  } catch {
    // A pipe: ERR_INVALID_HANDLE_TYPE.
    stream.destroy();
  }
}
