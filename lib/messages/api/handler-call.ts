// What a handler of an API knows of the call that it answers.

import type { NodeId } from '../../address.js';

/** What a handler of an API knows of a call besides its input. */
export interface HandlerCall {
  /** A text that no other call has. */
  readonly id: string;
  /** The node that calls, as the circuit has shown it. */
  readonly from: NodeId;
  /** Whether that node has proved its id. */
  readonly verified: boolean;
  /** The name in the certificate of that node; undefined unless it is verified and has one. */
  readonly name: string | undefined;
  /** The tags in the certificate of that node as a member. */
  readonly tags: readonly string[];
  /** The name of the command. */
  readonly command: string;
  /** Aborts when the caller has cancelled the call or has gone, and at the deadline. */
  readonly signal: AbortSignal;
  /** When the caller stops waiting, as Date.now() counts here; undefined if it waits without a limit, as streaming calls may. */
  readonly deadline: number | undefined;
}
