// A relay that tampers with circuits.

import type { PendingRelay } from '../../lib/circuit/relay/pending-relay.js';
import type { Relay } from '../../lib/circuit/relay/relay.js';
import { kOnData, kOnEnd } from '../../lib/mux/hidden.js';
import type { Open } from '../../lib/wire/open.js';
import type { ReadReply } from '../../lib/wire/open-reply.js';

export type Towards = 'server' | 'dialler';

/** How the relay tampers with a circuit; what is not set passes unchanged. */
export interface Tampering {
  open?(open: Open): Open;
  reply?(reply: ReadReply): ReadReply;
  /** The chunks that are forwarded instead of a chunk. */
  data?(chunk: Buffer, towards: Towards): readonly Buffer[];
  /** Whether the end of that half is forwarded after the last chunk. */
  cuts?(towards: Towards): boolean;
}

export function corrupt(relay: Relay, tampering: Tampering): void {
  const { open, reply, data, cuts } = tampering;
  if (open !== undefined) {
    const onOpen = relay.onOpen.bind(relay);
    relay.onOpen = (from, stream, read, rest, sender) => onOpen(from, stream, open(read), rest, sender);
  }
  if (reply !== undefined) {
    const { pool } = relay;
    const add = pool.add.bind(pool);
    pool.add = (holder) => {
      const pending = holder as PendingRelay;
      if (typeof pending.onCircuit === 'function') {
        const onCircuit = pending.onCircuit.bind(pending);
        pending.onCircuit = (far, read, hop) => onCircuit(far, reply(read), hop);
      }
      add(holder);
    };
  }
  if (data === undefined && cuts === undefined) return;
  const splice = relay.splice.bind(relay);
  relay.splice = (pending, near, far, to) => {
    const made = splice(pending, near, far, to);
    const onData = made[kOnData].bind(made);
    made[kOnData] = (stream, chunk) => {
      const towards = stream === near ? 'server' : 'dialler';
      const copy = Buffer.from(chunk);
      for (const part of data === undefined ? [copy] : data(copy, towards)) onData(stream, part);
      if (cuts?.(towards)) made[kOnEnd](stream);
    };
    return made;
  };
}

/** Splits the records of one direction, as any observer can: their lengths are not encrypted. */
export class RecordSplitter {
  private bytes = Buffer.alloc(0);

  /** The records that are whole now. */
  split(chunk: Buffer): Buffer[] {
    this.bytes = Buffer.concat([this.bytes, chunk]);
    const records: Buffer[] = [];
    while (this.bytes.length >= 4) {
      const end = 4 + this.bytes.readUIntBE(1, 3);
      if (this.bytes.length < end) break;
      records.push(this.bytes.subarray(0, end));
      this.bytes = this.bytes.subarray(end);
    }
    return records;
  }
}
