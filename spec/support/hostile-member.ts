// A hostile member of the network: it knows the secret and has its own key, so that it gets as far as
// any member does, and can then send anything.

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createIdentity, type Identity } from '../../lib/identity/identity.js';
import { networkKeyOf } from '../../lib/identity/network-key.js';
import { encodeMessage, encodeMessageOf, envDigests, MessageType } from '../../lib/wire/messages.js';
import {
  encodeNodeRecord,
  encodeShardRecord,
  type MeshRecord,
  type NodeRecordFields,
  type ServiceEntry,
  type ShardRecordFields,
  shardOfService,
} from '../../lib/wire/records.js';
import { RawPeer } from './raw-peer.js';

/** Behind version, kind, flags, key, boot id and epoch. */
const SEQ_AT = 4 + 32 + 16 + 4;
const SIGNATURE_BYTES = 64;
const RECORD_DOMAIN = Buffer.from('starlane record 1\n');
/** Below the longest message. */
const MESSAGE_BYTES = 60 * 1024;

export class HostileMember extends RawPeer {
  private constructor(
    readonly socket: Socket,
    identity: Identity,
  ) {
    super(true, identity);
    socket.on('error', () => {}).on('close', () => this.duplex.destroy());
    this.duplex.pipe(socket).pipe(this.duplex);
    this.duplex.on('error', () => {}).on('close', () => socket.destroy());
  }

  /** Connects to a node at a tcp address, and shakes hands unless `says` is false. */
  static async at(
    address: string,
    secret: string,
    { identity = createIdentity(), says = true }: { identity?: Identity; says?: boolean } = {},
  ): Promise<HostileMember> {
    const socket = connect(portOf(address), '127.0.0.1');
    await once(socket, 'connect');
    const member = new HostileMember(socket, identity);
    member.networkKey = networkKeyOf(Buffer.from(secret));
    return says ? await member.handshake() : member;
  }

  /** Writes bytes past its session: frames that no session would send. */
  frames(...bytes: Buffer[]): void {
    for (const piece of bytes) this.socket.write(piece);
  }

  node(changes: Partial<NodeRecordFields> = {}): MeshRecord {
    const said = { flags: 1, envDigests: envDigests([]), addresses: [], links: [] };
    return encodeNodeRecord({ ...this.header(), ...said, ...changes }, this.identity.sign);
  }

  shard(services: readonly ServiceEntry[], changes: Partial<ShardRecordFields> = {}): MeshRecord {
    return encodeShardRecord({ ...this.header(), shard: 0, shards: 1, services, ...changes }, this.identity.sign);
  }

  /** All shards of a layout. */
  layout(services: readonly ServiceEntry[], shards: number): MeshRecord[] {
    const spread: ServiceEntry[][] = Array.from({ length: shards }, () => []);
    for (const entry of services) spread[shardOfService(entry.service, entry.port, shards)].push(entry);
    return spread.map((own, shard) => this.shard(own, { shard, shards }));
  }

  /** A record of any node, by its key. */
  static nodeOf(
    changes: Partial<NodeRecordFields> & Pick<NodeRecordFields, 'publicKey' | 'bootId'>,
    sign: Identity['sign'],
  ): MeshRecord {
    const said = { epoch: 1, seq: 1, lifeS: 3_600, flags: 1, envDigests: envDigests([]), addresses: [], links: [] };
    return encodeNodeRecord({ ...said, ...changes }, sign);
  }

  /** A record with one service, well signed, whose name is of these bytes. */
  shardNamed(name: Buffer): Buffer {
    const plain = 'n'.repeat(name.length);
    const { bytes } = this.shard([{ service: plain, port: 0, weight: 1, meta: undefined }]);
    const signed = Buffer.from(bytes.subarray(0, -SIGNATURE_BYTES));
    name.copy(signed, signed.lastIndexOf(plain));
    return Buffer.concat([signed, this.identity.sign(Buffer.concat([RECORD_DOMAIN, signed]))]);
  }

  /** Passes records on, in messages as long as they may be. */
  publish(records: readonly MeshRecord[], remainingLifeS = 3_600): void {
    let message: Array<{ record: MeshRecord; remainingLifeS: number }> = [];
    let bytes = 0;
    for (const record of records) {
      if (bytes + record.bytes.length > MESSAGE_BYTES) {
        this.say(encodeMessageOf({ type: MessageType.RECORDS, records: message }));
        [message, bytes] = [[], 0];
      }
      message.push({ record, remainingLifeS });
      bytes += record.bytes.length + 6;
    }
    if (message.length > 0) this.say(encodeMessageOf({ type: MessageType.RECORDS, records: message }));
  }

  /** A RECORDS message with one record in it that is not what a codec would make. */
  publishBytes(record: Buffer): void {
    const head = Buffer.alloc(6);
    head.writeUInt32BE(3_600);
    head.writeUInt16BE(record.length, 4);
    this.say(encodeMessage(MessageType.RECORDS, [head, record]));
  }

  private header() {
    const { publicKey, bootId } = this.identity;
    return { publicKey, bootId, epoch: 1, seq: 1, lifeS: 3_600 };
  }
}

/** A record that its node has never signed: the same under another sequence number. */
export function forged({ bytes }: MeshRecord, seq: number): Buffer {
  const copy = Buffer.from(bytes);
  copy.writeUInt32BE(seq, SEQ_AT);
  return copy;
}

export function portOf(address: string): number {
  return Number(address.slice(address.lastIndexOf(':') + 1));
}
