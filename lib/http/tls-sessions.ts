// TLS sessions to resume, by where they were made: https.Agent has such a cache of its own, a connector needs one.

export class TlsSessions {
  /** The oldest first. */
  private readonly sessions = new Map<string, Buffer>();

  constructor(
    /** Sessions kept, at most; 0 for none. */
    private readonly limit: number,
  ) {}

  get(key: string): Buffer | undefined {
    return this.sessions.get(key);
  }

  set(key: string, session: Buffer): void {
    if (this.limit === 0) return;
    this.sessions.delete(key);
    const [oldest] = this.sessions.keys();
    if (this.sessions.size >= this.limit) this.sessions.delete(oldest);
    this.sessions.set(key, session);
  }

  delete(key: string): void {
    this.sessions.delete(key);
  }
}
