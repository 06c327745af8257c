// Records of nodes that are not there, signed as gossip-net.ts pretends to.

import {
  encodeNodeRecord,
  encodeShardRecord,
  type NodeRecord,
  type ServiceEntry,
  type ShardRecord,
} from '../../lib/wire/records.js';
import { pretendIdentity } from './gossip-net.js';

interface Header {
  readonly epoch?: number;
  readonly seq?: number;
  readonly run?: number;
  readonly lifeS?: number;
  readonly flags?: number;
}

/** `peers`: names of nodes that it lists as linked. */
export function nodeOf(
  name: string,
  { peers = [], addresses = [], ...header }: Header & { peers?: string[]; addresses?: string[] } = {},
): NodeRecord {
  const { epoch = 1, seq = 1, run = 1, lifeS = 3_600, flags = 0 } = header;
  const { publicKey, bootId, sign } = pretendIdentity(name, run);
  const links = peers.map((peer) => ({ peerId: pretendIdentity(peer).nodeId, cost: 10 }));
  return encodeNodeRecord({ publicKey, bootId, epoch, seq, lifeS, flags, envDigests: [], addresses, links }, sign);
}

export function shardOf(
  name: string,
  {
    shard = 0,
    shards = 1,
    services = [],
    ...header
  }: Header & { shard?: number; shards?: number; services?: readonly ServiceEntry[] } = {},
): ShardRecord {
  const { epoch = 1, seq = 1, run = 1, lifeS = 3_600 } = header;
  const { publicKey, bootId, sign } = pretendIdentity(name, run);
  return encodeShardRecord({ publicKey, bootId, epoch, seq, lifeS, shard, shards, services }, sign);
}
