// Stands in the middle of one link, to break it: it is cut at once, or falls silent, as cables, firewalls and suspended machines do.

import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';

export class LinkProxy {
  private readonly pairs = new Set<readonly [Socket, Socket]>();
  private isOpen = true;
  private isSilent = false;
  private target: number | undefined;

  private constructor(private readonly server: Server) {
    server.on('connection', (socket) => this.onConnection(socket));
  }

  static async listen(): Promise<LinkProxy> {
    const server = createServer({ allowHalfOpen: true, noDelay: true });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new LinkProxy(server);
  }

  /** The port that one end dials. */
  get port(): number {
    return (this.server.address() as { port: number }).port;
  }

  /** The port at which the other end listens now; undefined: nowhere. */
  leadTo(port: number | undefined): void {
    this.target = port;
  }

  /** Resets what is connected, and takes no new connection until {@link restore}. */
  cut(): void {
    this.isOpen = false;
    this.reset();
  }

  /** Carries nothing any more, in either direction, until {@link restore}; new connections are accepted, and are silent too. */
  silence(): void {
    this.isSilent = true;
    for (const pair of this.pairs) for (const socket of pair) socket.pause();
  }

  restore(): void {
    this.isOpen = true;
    this.isSilent = false;
    for (const [near, far] of this.pairs) {
      // What waits for the other side to drain is resumed by that.
      if (!far.writableNeedDrain) near.resume();
      if (!near.writableNeedDrain) far.resume();
    }
  }

  reset(): void {
    for (const pair of this.pairs) for (const socket of pair) socket.resetAndDestroy();
  }

  close(): void {
    this.cut();
    this.server.close();
  }

  private onConnection(near: Socket): void {
    if (!this.isOpen || this.target === undefined) {
      near.on('error', () => {});
      near.resetAndDestroy();
      return;
    }
    const far = connect({ port: this.target, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    const pair = [near, far] as const;
    this.pairs.add(pair);
    this.carry(near, far, pair);
    this.carry(far, near, pair);
    if (this.isSilent) for (const socket of pair) socket.pause();
  }

  private carry(from: Socket, to: Socket, pair: readonly [Socket, Socket]): void {
    from.on('data', (bytes) => {
      if (!to.write(bytes)) from.pause();
    });
    to.on('drain', () => {
      if (!this.isSilent) from.resume();
    });
    from.on('end', () => to.end());
    from.on('error', () => {});
    from.on('close', () => {
      this.pairs.delete(pair);
      // A silent link says nothing of an end either, but nobody is left to hear of it: one end of it is a process that has gone.
      to.destroy();
    });
  }
}
