// Answers that travel on circuits of their own: kept until the sender of the call has fetched them, or does not come.

import type { Socket } from '../../socket/socket.js';
import type { Timer, Timers } from '../../util/timers.js';
import { endSource } from '../content.js';
import { writeContent } from '../transfer.js';
import type { Answer, Incoming } from './incoming.js';
import type { ReceiverSession } from './session.js';

/** How long an answer is kept. */
export const FETCH_MS = 30_000;

export class Answers {
  private readonly expiries = new Map<Incoming, Timer>();
  /** Streams that are being sent, or have been. */
  private readonly begun = new WeakSet<Incoming>();

  constructor(private readonly timers: Timers) {}

  /** Called when a message has an answer that travels apart. */
  add(incoming: Incoming): void {
    this.expiries.set(incoming, this.timers.schedule(FETCH_MS, { onDeadline: () => this.drop(incoming) }));
  }

  /** Sends an answer. Returns false when there is none. */
  send(incoming: Incoming, socket: Socket): boolean {
    const { source, payload } = incoming.answer as Answer;
    if (source !== undefined) {
      // A stream cannot begin again.
      if (this.begun.has(incoming)) return false;
      this.begun.add(incoming);
      this.stopTimer(incoming);
    }
    socket.on('end', () => {
      // The sender has everything.
      this.drop(incoming);
      socket.end();
    });
    if (source !== undefined) {
      socket.once('close', () => {
        this.drop(incoming);
        // It may have nothing more for a long time, and only then find out that nobody reads it.
        endSource(source);
      });
    }
    socket.resume();
    writeContent(socket, { payload, source }).catch(() => socket.destroy());
    return true;
  }

  private stopTimer(incoming: Incoming): void {
    const timer = this.expiries.get(incoming);
    if (timer !== undefined) this.timers.cancel(timer);
    this.expiries.delete(incoming);
  }

  /** Forgets an answer. */
  drop(incoming: Incoming): void {
    this.stopTimer(incoming);
    const { answer } = incoming;
    (incoming.owner as ReceiverSession).dropApart(incoming);
    if (!this.begun.has(incoming)) endSource(answer?.source);
    if (answer !== undefined) incoming.answer = { ...answer, payload: undefined, source: undefined };
  }
}
