// What the links of a node are made for, what with, and who is told of them.

import type { NodeId } from '../address.js';
import type { Message } from '../wire/messages.js';
import type { Link } from './link.js';
import type { LinkPurpose } from './link-purpose.js';
import type { LinkListener } from './transport/listener.js';
import type { LinkTls } from './transport/tls.js';

/** What a link is dialled for. */
export interface DialRequest {
  readonly purpose: LinkPurpose;
  /** Who has to be there, or the link is refused with ERR_STARLANE_HANDSHAKE. */
  readonly expect?: NodeId;
  readonly signal?: AbortSignal;
}

export interface LinkSetOwner {
  /** What this node has against a link that a peer makes, beyond the limits here, as in `has enough links`: the peer gets it. */
  objection(link: Link): string | undefined;
  /** A link came up. Set its acceptor here. */
  onLink(link: Link): void;
  /** A link that is up has a stronger purpose now. */
  onPromoted(link: Link): void;
  onMessage(link: Link, message: Message): void;
  onDrain(link: Link): void;
  /** A link that was up is not any more. */
  onUnlink(link: Link, reason: Error | undefined): void;
  /** A link fault that costs the user nothing but this link. */
  onWarning(error: Error): void;
  /** A listener has failed; it is closed. */
  onError(error: Error): void;
  /** A listener is closed, for whatever reason. */
  onUnlisten(listener: LinkListener): void;
}

/** What a node brings to its links besides itself. */
export interface LinkMeans {
  /** 32 bytes, if it is the member of a network with a secret. */
  readonly networkKeys: readonly Buffer[];
  /** Without it, links are plain. */
  readonly tls: LinkTls | undefined;
}
