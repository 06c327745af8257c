// Records whose signatures this process has checked. The same record comes in over every link, and in a process of many nodes
// over the links of each of them: who has it by its bytes need not read and check it again, and all share one copy.

/** Entries that are kept; the oldest goes first. What nobody keeps any more leaves an entry of about 100 bytes until then. */
const MAX_RECORDS = 8_192;
const SIGNATURE_BYTES = 64;
/** Enough to find it; whether it is the same is for all of its bytes to say. */
const KEY_BYTES = 16;

export class SignedRecords<R extends { readonly bytes: Buffer }> {
  private readonly known = new Map<string, WeakRef<R>>();

  constructor(private readonly max = MAX_RECORDS) {}

  get size(): number {
    return this.known.size;
  }

  /** The record with exactly these bytes, if its signature was found to be right. */
  find(bytes: Buffer): R | undefined {
    const record = this.known.get(keyOf(bytes))?.deref();
    return record?.bytes.equals(bytes) ? record : undefined;
  }

  /** To be called when the signature is right, and never otherwise: from then on it is not checked again. */
  add(record: R): void {
    const key = keyOf(record.bytes);
    this.known.delete(key);
    if (this.known.size >= this.max) this.known.delete(this.known.keys().next().value as string);
    this.known.set(key, new WeakRef(record));
  }
}

function keyOf(bytes: Buffer): string {
  const start = bytes.length - SIGNATURE_BYTES;
  return bytes.toString('latin1', start, start + KEY_BYTES);
}
