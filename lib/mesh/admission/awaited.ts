// Records whose nodes are no members, as far as this node knows: the certificate may be on its way over another link, or of an authority that
// this node has not heard of yet. They wait for it, the newest of each key.

import type { NodeId } from '../../address.js';
import { RecentMap } from '../../util/recent-map.js';
import { type RecordCopy, recordCopyBytes } from '../../wire/gossip-messages.js';
import type { RecordVersion } from '../../wire/records.js';
import { compareVersions } from '../records/order.js';

/** More are dropped, the oldest first, and come again by comparison of the stores. */
const MAX_NODES = 1_024;
const MAX_BYTES = 4 * 1024 * 1024;
/** Anyone may make up nodes, with any number of shards. */
const MAX_NODE_BYTES = 256 * 1024;

interface Waiting {
  readonly copies: Map<string, RecordCopy>;
  bytes: number;
}

export class AwaitedRecords {
  private readonly nodes = new RecentMap<NodeId, Waiting>(Number.POSITIVE_INFINITY);
  private byteCount = 0;

  get size(): number {
    return this.nodes.size;
  }

  get bytes(): number {
    return this.byteCount;
  }

  /** Whether this version of a record waits, or a newer one. */
  has(version: RecordVersion & { readonly nodeId?: NodeId }): boolean {
    if (this.nodes.size === 0) return false;
    const { key } = version;
    const end = key.indexOf('/');
    const waiting = this.nodes.peek(end < 0 ? key : key.slice(0, end))?.copies.get(key);
    return waiting !== undefined && compareVersions(version, waiting.record) <= 0;
  }

  /** Keeps a record whose signature is right. */
  put(copy: RecordCopy): void {
    const { nodeId, key } = copy.record;
    const bytes = recordCopyBytes(copy.record);
    const waiting = this.nodes.get(nodeId) ?? { copies: new Map(), bytes: 0 };
    const before = waiting.copies.get(key);
    if (before !== undefined && compareVersions(copy.record, before.record) <= 0) return;
    const freed = before === undefined ? 0 : recordCopyBytes(before.record);
    if (waiting.bytes - freed + bytes > MAX_NODE_BYTES) return;
    this.nodes.set(nodeId, waiting);
    waiting.copies.set(key, copy);
    waiting.bytes += bytes - freed;
    this.byteCount += bytes - freed;
    while (this.nodes.size > MAX_NODES || this.byteCount > MAX_BYTES) this.dropOldest();
  }

  /** Removes and returns the records of a node. */
  take(nodeId: NodeId): RecordCopy[] {
    const waiting = this.nodes.peek(nodeId);
    if (waiting === undefined) return [];
    this.nodes.delete(nodeId);
    this.byteCount -= waiting.bytes;
    return [...waiting.copies.values()];
  }

  private dropOldest(): void {
    for (const nodeId of this.nodes.keys()) {
      this.take(nodeId);
      return;
    }
  }
}
