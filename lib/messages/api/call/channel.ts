// The frames of one call on its circuit, at either end. It reads when it is asked for a frame, and a write waits while the circuit is full: so
// a slow end slows the other one down.

import type { Duplex } from 'node:stream';
import { clearTimeout, nextTick, setTimeout } from '../../../util/runtime/real-timers.js';
import { messageError } from '../../outcome.js';
import { CallFrameDecoder, encodeFrame, type Frame, type FrameKind } from './frames.js';

/** How long the last frames may take to leave, to a slow reader. */
const FLUSH_MS = 60_000;
/** How long the other end may take to close the circuit after that. */
const LINGER_MS = 5_000;

/** A circuit, as nodes and the command have them. */
export interface CallCircuit extends Duplex {
  /** Closes at once; the other end sees ECONNRESET. */
  resetAndDestroy?(): unknown;
}

export class CallChannel {
  private readonly decoder: CallFrameDecoder;
  private isCorked = false;
  /** Wakes what waits for bytes or for room. */
  private wakes: (() => void)[] = [];
  private failure: Error | undefined;
  private isEnded = false;
  private isFinished = false;

  /**
   * @param first bytes behind the preamble that have been read already
   * @param onGone called when the circuit is reset, lost or closed before {@link finish}
   */
  constructor(
    private readonly circuit: CallCircuit,
    maxItemBytes: number,
    first?: Buffer,
    private readonly onGone?: (reason: Error) => void,
  ) {
    this.decoder = new CallFrameDecoder(maxItemBytes);
    if (first !== undefined) this.decoder.push(first);
    const wake = (): void => this.wake();
    circuit.on('readable', wake);
    circuit.on('drain', wake);
    circuit.once('end', () => {
      this.isEnded = true;
      wake();
    });
    circuit.on('error', (error: Error) => this.lose(error));
    circuit.once('close', () => this.lose(messageError('ECONNRESET', 'unknown', 'the circuit of the call was closed')));
    if (circuit.destroyed)
      this.lose(circuit.errored ?? messageError('ECONNRESET', 'unknown', 'the circuit was closed'));
  }

  /** Whether the circuit is reset, lost or closed. */
  get isGone(): boolean {
    return this.failure !== undefined;
  }

  /** Resolves with the next frame, or with undefined at the end. @throws the error of the circuit, or that of a malformed frame */
  async read(): Promise<Frame | undefined> {
    for (;;) {
      const frame = this.decoder.next();
      if (frame !== undefined) return frame;
      const chunk = this.circuit.read() as Buffer | null;
      if (chunk !== null) {
        this.decoder.push(chunk);
        continue;
      }
      if (this.isEnded || this.circuit.readableEnded) {
        if (!this.decoder.isInFrame) return undefined;
        throw messageError('ERR_STARLANE_MESSAGE_PROTOCOL', 'unknown', 'the circuit of the call ends within a frame');
      }
      if (this.failure !== undefined) throw this.failure;
      await this.woken();
    }
  }

  /** Writes a frame. Resolves when there is room for the next one. @throws the error of the circuit */
  async write(kind: FrameKind, payload?: readonly Uint8Array[]): Promise<void> {
    this.send(kind, payload);
    while (this.circuit.writableNeedDrain) {
      if (this.failure !== undefined) throw this.failure;
      await this.woken();
    }
    if (this.failure !== undefined) throw this.failure;
  }

  /** Writes a frame without waiting for room: for the last ones, which are few and short. */
  send(kind: FrameKind, payload?: readonly Uint8Array[]): void {
    if (this.failure !== undefined || this.circuit.writableEnded) return;
    this.cork();
    for (const part of encodeFrame(kind, payload)) this.circuit.write(part);
  }

  /** Ends the own direction. */
  end(): void {
    if (this.failure === undefined) this.circuit.end();
  }

  /** Ends a call whose last frame was written: what the other end still sends is dropped, and the circuit is closed in time. */
  finish(): void {
    if (this.isFinished) return;
    this.isFinished = true;
    const { circuit } = this;
    this.end();
    if (circuit.destroyed) return;
    circuit.removeAllListeners('readable');
    circuit.resume();
    const linger = (delayMs: number): NodeJS.Timeout => setTimeout(() => circuit.destroy(), delayMs).unref();
    let timer = linger(circuit.writableFinished ? LINGER_MS : FLUSH_MS);
    circuit.once('finish', () => {
      clearTimeout(timer);
      timer = linger(LINGER_MS);
    });
    circuit.once('close', () => clearTimeout(timer));
  }

  /** Cancels: the other end sees a reset. */
  reset(): void {
    this.isFinished = true;
    const { circuit } = this;
    if (circuit.destroyed) return;
    if (circuit.resetAndDestroy === undefined) circuit.destroy();
    else circuit.resetAndDestroy();
  }

  /** Everything of one turn leaves in one write. */
  private cork(): void {
    if (this.isCorked) return;
    this.isCorked = true;
    this.circuit.cork();
    nextTick(() => {
      this.isCorked = false;
      this.circuit.uncork();
    });
  }

  private woken(): Promise<void> {
    return new Promise((resolve) => {
      this.wakes.push(resolve);
    });
  }

  private wake(): void {
    if (this.wakes.length === 0) return;
    const { wakes } = this;
    this.wakes = [];
    for (const one of wakes) one();
  }

  private lose(error: Error): void {
    if (this.failure !== undefined) return;
    this.failure = error;
    this.wake();
    if (!this.isFinished) this.onGone?.(error);
  }
}
