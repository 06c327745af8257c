// What a node tells its user.

import type { CodedError } from '../errors.js';
import type { Link } from '../link/link.js';
import type { ServiceInfo } from '../mesh/directory/service.js';

export interface NodeEvents {
  /** A link is up. */
  link: [link: Link];
  /** A link is lost, or closed: then without a reason if this node closed it. */
  unlink: [link: Link, reason: NodeJS.ErrnoException | undefined];
  /** Someone, this node included, offers a service. */
  service: [service: ServiceInfo];
  /** It is not offered any more. */
  unservice: [service: ServiceInfo];
  /**
   * A link or a peer is at fault; the node goes on, and tries again where it makes sense. Without a listener it becomes a
   * warning of the process, at most one a minute for each code.
   */
  warning: [error: CodedError];
  /**
   * What was asked for cannot be had. Without a listener it becomes a warning of the process as well; that of a bind of what is
   * taken is thrown, as by net.Server.
   */
  error: [error: CodedError];
  close: [];
}
