// What a run and its processes say to each other, besides the journals.

import type { Role } from '../run/shape.js';

/** How one process is started. */
export interface Start {
  /** Name and incarnation. */
  readonly process: string;
  readonly name: string;
  readonly role: Role;
  readonly folder: string;
  readonly seed: number;
  readonly identity: string;
  readonly secret: string | undefined;
  /** Addresses of links that it dials. */
  readonly joins: readonly string[];
  readonly services: ReadonlyArray<readonly [service: string, receivers: readonly string[]]>;
  /** Messages a second that a sender sends. */
  readonly rate: number;
  readonly resumeMs: number;
  /** The processes of the same identity before it, whose keys it may use again. */
  readonly before: readonly string[];
}

export type ToWorker = { readonly type: 'go' | 'finish' | 'quit' };

export type FromWorker =
  /** The node listens, at the ports of tcp and tls. */
  | { readonly type: 'up'; readonly tcp: number; readonly tls: number | undefined }
  /** Messages that a sender has sent, and that were handled. */
  | { readonly type: 'sent'; readonly count: number; readonly handled: number }
  | { readonly type: 'finished' };
