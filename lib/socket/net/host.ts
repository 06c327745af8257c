// What the sockets and servers of `node.net` need of their node.

import type { ProcessRefs } from '../../util/runtime/process-refs.js';
import type { AnyServer, Binding } from '../server.js';
import type { Socket } from '../socket.js';
import type { SocketAddresses } from '../socket-addresses.js';

/** Where a socket goes, or a server is bound: by service name, by node, or by neither, which is this node itself. */
export interface Place {
  /** A service name, `@nodeId`, or empty for this node. */
  readonly host: string;
  /** Undefined: any port, which goes with a name only. */
  readonly port: number | undefined;
}

export interface NetHost {
  readonly keepsAlive: ProcessRefs;
  /** How its sockets name nodes. */
  readonly addresses: SocketAddresses;
  /**
   * Connects a socket in the state `connecting`; what is wrong is told by its failConnect, later.
   * @param localPort the virtual port of its own end, undefined for whichever
   */
  connect(socket: Socket, place: Place, localPort: number | undefined): void;
  /** Binds a server that is not bound. @throws EADDRINUSE, EACCES, ECANCELED, ERR_STARLANE_ADDRESS */
  listen(server: AnyServer, place: Place): Binding;
}
