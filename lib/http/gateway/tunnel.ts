// The two connections of a request that has changed the protocol, as a WebSocket does: bytes both ways, until both ends are done.

import type { Duplex } from 'node:stream';

export interface TunnelOwner {
  onBytes(bytesIn: number, bytesOut: number): void;
  /** Called once. */
  onClose(): void;
}

export class Tunnel {
  private isClosed = false;

  constructor(
    private readonly client: Duplex,
    private readonly service: Duplex,
    /** What the service has sent already. */
    rest: Buffer,
    private readonly owner: TunnelOwner,
  ) {
    this.join(client, service, (bytes) => owner.onBytes(bytes, 0));
    this.join(service, client, (bytes) => owner.onBytes(0, bytes));
    if (rest.length > 0) {
      owner.onBytes(0, rest.length);
      client.write(rest);
    }
    this.watch(client, service);
    this.watch(service, client);
  }

  /** Ends both at once. */
  destroy(): void {
    this.client.destroy();
    this.service.destroy();
  }

  /** When one end has closed, the other one gets what was written to it, and then closes too. */
  private watch(end: Duplex, other: Duplex): void {
    const onClose = (): void => {
      if (!other.destroyed) other.end(() => other.destroy());
      else if (!this.isClosed) {
        this.isClosed = true;
        this.owner.onClose();
      }
    };
    end.on('error', () => other.destroy());
    if (end.closed) onClose();
    else end.on('close', onClose);
  }

  private join(from: Duplex, to: Duplex, count: (bytes: number) => void): void {
    from.on('data', (chunk: Buffer) => {
      count(chunk.length);
      if (!to.destroyed && !to.writableEnded && to.write(chunk) === false) from.pause();
    });
    to.on('drain', () => from.resume());
    from.on('end', () => {
      if (!to.destroyed && !to.writableEnded) to.end();
    });
    from.resume();
  }
}
