// A link as the control plane sees it: who is at the other end, whether it is well, and messages. The links of a node are
// such, and so are those of a simulation.

import type { NodeId } from '../address.js';
import type { LinkPurpose } from '../link/link-purpose.js';
import type { NodeRole } from '../options/options.js';
import type { Message } from '../wire/messages.js';

export interface MeshLink {
  readonly peerId: NodeId;
  /** A UUID that changes when the peer restarts. */
  readonly bootId: string;
  readonly direction: 'inbound' | 'outbound';
  /** The link address of the peer, or `attached`. */
  readonly address: string;
  readonly role: NodeRole;
  readonly envDigests: readonly string[];
  /** Link addresses at which the peer listens, as it says itself. */
  readonly peerAddresses: readonly string[];
  readonly purpose: LinkPurpose;
  readonly isUp: boolean;
  /** Messages wait for the peer to take them: what is not urgent is held back until it has. */
  readonly isBlocked: boolean;
  /** The smallest recent round trip, in ms; 0 while it is unknown. */
  readonly rttMs: number;
  /** Open streams of users and relays. */
  readonly streams: number;
  /** When the last byte of the peer arrived, by the clock of the timers, in ms. */
  readonly lastHeardMs: number;
  send(message: Message): void;
  /** The time that the peer takes to answer, in ms. Rejects when the link ends first. */
  ping(): Promise<number>;
  /** Ends it in order. */
  close(): void;
  /** Ends it in order, and tells the peer that it can do without. */
  shed(): void;
  destroy(error: Error): void;
}
