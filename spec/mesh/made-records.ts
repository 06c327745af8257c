// Records as routes and the registry read them; other parts are left out.

import {
  NodeFlag,
  type NodeRecord,
  type ServiceEntry,
  type ShardRecord,
  shardOfService,
} from '../../lib/wire/records.js';

export const BOOT = 'boot-1';

export interface MadeNode {
  /** Peers and cost bytes. */
  links?: Record<string, number>;
  flags?: number;
  bootId?: string;
  envDigests?: readonly string[];
}

/** A relay by default. */
export function nodeRecord(nodeId: string, made: MadeNode = {}): NodeRecord {
  const { links = {}, flags = NodeFlag.RELAY, bootId = BOOT, envDigests = [] } = made;
  const listed = Object.entries(links).map(([peerId, cost]) => ({ peerId, cost }));
  return {
    kind: 1,
    key: nodeId,
    nodeId,
    bootId,
    flags,
    envDigests,
    addresses: [],
    links: listed,
  } as unknown as NodeRecord;
}

/** All shards of a layout. */
export function shardRecords(
  nodeId: string,
  shards: number,
  services: readonly ServiceEntry[],
  bootId = BOOT,
): ShardRecord[] {
  return Array.from({ length: shards }, (_, shard) => {
    const own = services.filter(({ service, port }) => shardOfService(service, port, shards) === shard);
    return { kind: 2, nodeId, bootId, shard, shards, services: own } as unknown as ShardRecord;
  });
}
