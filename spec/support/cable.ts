// A way between two processes that a spec can cut: connections to its port go on to another one.

import { type AddressInfo, createServer, connect as netConnect, type Socket } from 'node:net';

export class Cable {
  private readonly sockets = new Set<Socket>();

  private constructor(
    private readonly server: ReturnType<typeof createServer>,
    /** The port to which it leads. It may become known later than its own. */
    public to: number,
  ) {}

  static async open(to = 0): Promise<Cable> {
    const server = createServer();
    const cable = new Cable(server, to);
    server.on('connection', (socket) => cable.join(socket));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return cable;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** Ends all connections through it. Returns how many ends there were. */
  cut(): number {
    const count = this.sockets.size;
    for (const socket of [...this.sockets]) socket.destroy();
    return count;
  }

  close(): void {
    this.server.close();
    this.cut();
  }

  private join(near: Socket): void {
    const far = netConnect(this.to, '127.0.0.1');
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ]) {
      this.sockets.add(socket);
      socket.on('error', () => {});
      socket.pipe(other);
      socket.once('close', () => {
        this.sockets.delete(socket);
        other.destroy();
      });
    }
  }
}
