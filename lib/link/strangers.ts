// Those who have connected and are not peers yet: in the middle of tls or of the handshake. Each may cost a file descriptor,
// a tls handshake and some KiB, so there are only so many at a time.

export class Strangers {
  private current = 0;

  constructor(private readonly max: number) {}

  get count(): number {
    return this.current;
  }

  /** One more, if there is room; {@link leave} is to be called once then. */
  admit(): boolean {
    if (this.current >= this.max) return false;
    this.current++;
    return true;
  }

  /** One of them is a peer now, or gone. */
  leave(): void {
    this.current--;
  }
}
