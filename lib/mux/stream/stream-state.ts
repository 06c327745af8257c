// The state of one yamux stream as a set of bits, and pure functions on them.
// The two halves end independently, and flags that the peer has still to get (SYN, ACK) are bits of their own, so that no
// combination needs a state of its own.

import { Flag } from '../../wire/header.js';

export const StreamState = {
  /** Opened here; the frame that carries the SYN has not been written. */
  SYN_OWED: 0x01,
  /** Opened here; the peer has not answered yet. */
  UNACKED: 0x02,
  /** Opened by the peer and not accepted yet: it is in the accept backlog. */
  UNACCEPTED: 0x04,
  /** Accepted here; the frame that carries the ACK has not been written. */
  ACK_OWED: 0x08,
  /** This side writes no more; its FIN follows the queued data. */
  WRITE_ENDED: 0x10,
  /** The FIN has been written. */
  FIN_SENT: 0x20,
  /** The peer's FIN has arrived. */
  READ_ENDED: 0x40,
  /** The user has gone; data of the peer is answered with RST. */
  ABANDONED: 0x80,
  /** Both halves have ended, or the stream was reset. */
  CLOSED: 0x100,
  /** Opened here, but the SYN waits: too many opens are unanswered already. */
  HELD: 0x200,
  /** A hop of a circuit through relays: its windows began smaller. */
  RELAYED: 0x400,
} as const;

/** Returned by {@link afterFlags} when the peer broke the protocol. */
export const INVALID_STATE = -1;

/** The state of a stream opened here. */
export const OPENED_STATE = StreamState.SYN_OWED | StreamState.UNACKED;

/** The state of a stream opened by the peer. */
export const INCOMING_STATE = StreamState.UNACCEPTED;

/**
 * Returns the state after a frame of the peer with these flags, its payload aside. A second FIN, or a FIN on a closed stream, is
 * {@link INVALID_STATE}, as in hashicorp/yamux. Any frame but RST counts as the answer to an open, as some peers
 * send data ahead of their ACK.
 */
export function afterFlags(state: number, flags: number): number {
  if (state & StreamState.CLOSED) return INVALID_STATE;
  if (flags & Flag.RST) return state | StreamState.CLOSED;
  let next = state & ~StreamState.UNACKED;
  if (flags & Flag.FIN) {
    if (state & StreamState.READ_ENDED) return INVALID_STATE;
    next |= StreamState.READ_ENDED;
  }
  return settle(next);
}

/** Returns the state after this side's FIN has been written. */
export function afterFinSent(state: number): number {
  return settle(state | StreamState.WRITE_ENDED | StreamState.FIN_SENT);
}

/** Returns whether the peer may still send data. */
export function mayReceive(state: number): boolean {
  return (state & (StreamState.READ_ENDED | StreamState.CLOSED)) === 0;
}

/** Returns whether the user may still write. */
export function mayWrite(state: number): boolean {
  return (state & (StreamState.WRITE_ENDED | StreamState.CLOSED)) === 0;
}

function settle(state: number): number {
  const ended = StreamState.FIN_SENT | StreamState.READ_ENDED;
  return (state & ended) === ended ? state | StreamState.CLOSED : state;
}
