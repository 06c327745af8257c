// A circuit of the node of another process. It can be written before it is there.

import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { netError } from '../../errors.js';
import type { PeerInfo } from '../../socket/endpoints.js';
import type { OverlaySocket } from '../run/overlay.js';
import { ConnectAnswer, isNobodyThere, nodeHasEnded } from './request.js';

/** How long the node may take to close the socket of a circuit that was reset. */
const RESET_MS = 5_000;

/** What a circuit needs of its session. */
interface Session {
  readonly isLost: boolean;
  sendReset(id: string): void;
}

export class ControlCircuit extends Duplex implements OverlaySocket {
  connecting = true;
  private answer: ConnectAnswer | undefined = new ConnectAnswer();

  constructor(
    private readonly socket: Socket,
    private readonly session: Session,
    private readonly id: string,
    readonly peer?: PeerInfo | undefined,
  ) {
    super({ allowHalfOpen: true });
    // As for sockets of nodes: the network must not crash a process whose code does not listen for errors.
    this.on('error', () => {});
    socket.on('data', (chunk: Buffer) => this.onData(chunk));
    socket.once('end', () => this.onEnd());
    socket.on('error', (error) => this.destroy(isNobodyThere(error) ? nodeHasEnded() : error));
    socket.once('close', () => this.onSocketClose());
  }

  /** Closes at once; the other end sees ECONNRESET. */
  resetAndDestroy(): this {
    return this.destroy();
  }

  private onData(chunk: Buffer): void {
    const { answer } = this;
    if (answer === undefined) {
      if (!this.push(chunk)) this.socket.pause();
      return;
    }
    const rest = answer.push(chunk);
    if (rest === undefined) return;
    if (rest instanceof Error) {
      this.destroy(rest);
      return;
    }
    this.answer = undefined;
    this.connecting = false;
    this.emit('connect');
    if (rest.length > 0 && !this.destroyed && !this.push(rest)) this.socket.pause();
  }

  private onEnd(): void {
    if (this.answer !== undefined) {
      this.destroy(this.answer.refusal());
      return;
    }
    // The end of the process of the node looks the same here. Its session is seen to have ended in the same turn.
    setImmediate(() => {
      if (this.destroyed) return;
      if (this.session.isLost) this.destroy(netError('ECONNRESET', 'read'));
      else this.push(null);
    });
  }

  private onSocketClose(): void {
    if (this.destroyed || (this.readableEnded && this.writableFinished)) return;
    setImmediate(() => {
      // Its end may still wait to be read, and what is written from now on gets the error.
      if (this.socket.readableEnded && this.writableEnded) return;
      if (!this.destroyed) this.destroy(netError('ECONNRESET', this.socket.readableEnded ? 'write' : 'read'));
    });
  }

  override _read(): void {
    this.socket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    this.socket.write(chunk, callback);
  }

  override _writev(items: Array<{ chunk: Buffer }>, callback: (error?: Error | null) => void): void {
    this.socket.cork();
    for (const { chunk } of items.slice(0, -1)) this.socket.write(chunk);
    this.socket.write(items[items.length - 1].chunk, callback);
    this.socket.uncork();
  }

  override _final(callback: (error?: Error | null) => void): void {
    this.socket.end(callback);
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    const { socket, session } = this;
    this.connecting = false;
    // A refused one has nothing to be reset, and no other end will come.
    const isRefused = this.answer !== undefined && socket.readableEnded;
    const isOver = isRefused || (this.readableEnded && this.writableFinished);
    if (isOver || session.isLost || socket.destroyed) socket.destroy();
    else {
      // An end of the socket would be one of the circuit: the node closes it, when it has reset the circuit.
      session.sendReset(this.id);
      socket.removeAllListeners('data');
      socket.once('end', () => socket.destroy());
      socket.resume();
      const timer = setTimeout(() => socket.destroy(), RESET_MS);
      socket.once('close', () => clearTimeout(timer));
    }
    callback(error);
  }
}
