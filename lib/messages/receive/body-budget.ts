// Memory for messages that are collected before their handler begins: so much for all senders, and for one. Others wait for their turn.

const TOTAL_BYTES = 256 * 1024 * 1024;
const SENDER_BYTES = 64 * 1024 * 1024;

interface Waiting {
  readonly key: string;
  readonly bytes: number;
  readonly onRoom: () => void;
}

export class BodyBudget {
  private used = 0;
  private readonly ofSender = new Map<string, number>();
  private readonly waiting = new Set<Waiting>();

  /** Calls `onRoom`, now or later. Returns a function that gives the memory back, or the place in the queue. One message always fits. */
  take(key: string, bytes: number, onRoom: () => void): () => void {
    const entry: Waiting = { key, bytes, onRoom };
    let isOver = false;
    if (this.fits(entry)) this.grant(entry);
    else this.waiting.add(entry);
    return () => {
      if (isOver) return;
      isOver = true;
      if (this.waiting.delete(entry)) return;
      this.used -= bytes;
      const left = (this.ofSender.get(key) ?? bytes) - bytes;
      if (left <= 0) this.ofSender.delete(key);
      else this.ofSender.set(key, left);
      this.next();
    };
  }

  /** Whether another sender waits for memory that this one may hold. */
  isWantedFrom(key: string): boolean {
    for (const entry of this.waiting) if (entry.key !== key && this.fitsSender(entry)) return true;
    return false;
  }

  private fits(entry: Waiting): boolean {
    return this.fitsSender(entry) && (this.used === 0 || this.used + entry.bytes <= TOTAL_BYTES);
  }

  private fitsSender({ key, bytes }: Waiting): boolean {
    const own = this.ofSender.get(key) ?? 0;
    return own === 0 || own + bytes <= SENDER_BYTES;
  }

  private grant({ key, bytes, onRoom }: Waiting): void {
    this.used += bytes;
    this.ofSender.set(key, (this.ofSender.get(key) ?? 0) + bytes);
    onRoom();
  }

  private next(): void {
    for (const entry of this.waiting) {
      if (!this.fits(entry)) continue;
      this.waiting.delete(entry);
      this.grant(entry);
    }
  }
}
