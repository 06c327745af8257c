// The control plane of a node that has two hostile neighbours: they send records of themselves, of each other, of nodes that
// exist and that do not, and of the node itself, with valid signatures of all but the last.
//
//   part    u8 what | type and body of a message, or time      in the first part, bit 3 of what: nodes have certificates

import type { NodeId } from '../../../lib/address.js';
import { starlaneError } from '../../../lib/errors.js';
import { Authority } from '../../../lib/identity/authority.js';
import { MemberBook } from '../../../lib/identity/member-book.js';
import { ControlPlane } from '../../../lib/mesh/control-plane.js';
import type { MeshLink } from '../../../lib/mesh/ports.js';
import { DEFAULT_LIMITS } from '../../../lib/options/options.js';
import { Timers } from '../../../lib/util/timers.js';
import {
  Capability,
  decodeMessage,
  encodeMessageOf,
  envDigests,
  type Message,
  MessageType,
} from '../../../lib/wire/messages.js';
import { encodeNodeRecord, encodeShardRecord, shardOfService } from '../../../lib/wire/records.js';
import { encodeCertificateStatement } from '../../../lib/wire/statements.js';
import { FakeClock } from '../../../spec/support/fake-clock.js';
import { Random } from '../../simulation/random.js';
import { type LivingTarget, must, type Outcome, type Parts, type Trial } from '../target.js';
import { fixedKey } from './fixed-identity.js';
import { randomMessage, type Subjects } from './messages.js';
import { endOf } from './session.js';
import { identityOf, isSigned, signAgain } from './signed.js';

const SELF = identityOf('self');
const NEIGHBOURS = [identityOf('x'), identityOf('z')];
const OTHERS = ['a', 'b', 'c', 'd'].map((name) => identityOf(name));
const NODES = [...NEIGHBOURS, ...OTHERS, ...NEIGHBOURS.map((_, index) => identityOf('xz'[index], 2))];
const SERVICES = ['echo', 'mine', '__proto__', 'constructor', SELF.nodeId, 'größe'];
const ENVS = envDigests([]);
/** Small, so that they are reached. */
const MAX_NODES = 5;
const MAX_SERVICES = 8;
const MAX_INSTANCES = 12;
const MAX_MEMBERS = 6;
const NOW_MS = Date.UTC(2030, 0, 1);
const AUTHORITY = new Authority(fixedKey(10));
const HAS_MEMBERS = 8;

const What = { SAYS: 0, WAITS: 6, COMES_AGAIN: 7 } as const;

export const mesh: LivingTarget = {
  name: 'mesh',
  share: 1,

  generate: (random) => Array.from({ length: 2 + random.below(8) }, () => randomPart(random)),

  repair(parts, random) {
    parts.forEach((part, index) => {
      if (part.length > 1 && part[0] % 8 < What.WAITS && part[1] === MessageType.RECORDS && random.below(8) > 0) {
        parts[index] = Buffer.concat([part.subarray(0, 2), recordsAgain(part.subarray(2))]);
      }
    });
  },

  start: (parts) => new MeshTrial(parts),
};

class MeshTrial implements Trial {
  private readonly clock = new FakeClock();
  private readonly timers = new Timers(this.clock);
  private readonly plane: ControlPlane;
  private readonly links: HostileLink[] = [];
  private readonly parts: Buffer[];
  private readonly outcomes = new Set<Outcome>();
  private wait = 2;
  private readonly hasMembers: boolean;

  constructor(parts: Parts) {
    this.parts = [...parts];
    this.hasMembers = ((parts[0]?.[0] ?? 0) & HAS_MEMBERS) !== 0;
    const chance = new Random(1);
    const { clock, timers, links } = this;
    const { keepAliveMs, keepAliveTimeoutMs } = DEFAULT_LIMITS;
    this.plane = new ControlPlane({
      environment: {
        identity: SELF,
        timers,
        random: () => chance.next(),
        verify: isSigned,
        warn: (error) => this.outcomes.add(endOf(error)),
      },
      network: {
        dial: () => Promise.reject(starlaneError('ERR_STARLANE_TRANSPORT')),
        resolve: (address) => Promise.resolve([address]),
        probe: () => Promise.resolve('refused'),
        listenAddresses: ['tcp://10.0.0.1:1'],
        links: () => links.filter(({ isUp }) => isUp),
      },
      options: {
        role: 'peer',
        relay: true,
        envDigests: ENVS,
        seeds: [],
        backOff: { minMs: 500, maxMs: 60_000 },
        keepAliveMs,
        keepAliveTimeoutMs,
        firstEpoch: 1,
        maxServicesPerNode: MAX_SERVICES,
        maxNodes: MAX_NODES,
        maxInstances: MAX_INSTANCES,
        members: this.hasMembers ? newBook(() => NOW_MS + clock.now()) : undefined,
      },
      owner: {
        onService: () => this.outcomes.add('service'),
        onUnservice: () => this.outcomes.add('unservice'),
        onRoute: () => this.outcomes.add('route'),
        onUnroute: () => this.outcomes.add('unroute'),
        onSynced: () => this.outcomes.add('synced'),
        onEpoch: () => this.outcomes.add('epoch'),
      },
    });
    this.plane.bind('mine', 7, 1, undefined);
    this.plane.onListening();
    this.plane.start();
    for (const index of NEIGHBOURS.keys()) this.link(index);
    clock.advance(2_100);
  }

  advance(): boolean {
    const { clock, plane, parts } = this;
    clock.runImmediates();
    const part = parts.shift();
    if (part !== undefined) {
      this.act(part);
      return false;
    }
    if (this.wait-- > 0) {
      clock.advance(20_000);
      return false;
    }
    if (this.wait === -1) this.check();
    if (this.wait === -2) plane.dispose();
    return this.wait < -6;
  }

  finish(): Outcome[] {
    must(this.timers.size === 0, `${this.timers.size} deadlines are left`);
    return [...this.outcomes];
  }

  private act(part: Buffer): void {
    const what = (part[0] ?? 0) % 8;
    const index = what & 1;
    if (what === What.WAITS) this.clock.advance(40 * (part[1] ?? 1));
    else if (what === What.COMES_AGAIN) {
      this.links[(part[1] ?? 0) & 1].end(undefined);
      this.link((part[1] ?? 0) & 1);
    } else this.say(this.links[index], part.subarray(1));
  }

  private say(link: HostileLink, typeAndBody: Buffer): void {
    let message: Message | undefined;
    try {
      message = decodeMessage(typeAndBody);
    } catch (error) {
      this.outcomes.add(endOf(error as Error));
      link.end(error as Error);
    }
    if (message === undefined || message.type === MessageType.HELLO || message.type === MessageType.GOODBYE) return;
    if (link.isUp) this.plane.onMessage(link, message);
  }

  private link(index: number): void {
    const { nodeId, bootId } = NEIGHBOURS[index];
    const link = new HostileLink(nodeId, bootId, this.timers, this.hasMembers, (error) => {
      this.plane.onUnlink(link, error !== undefined);
      if (error !== undefined) this.outcomes.add(endOf(error));
    });
    this.links[index] = link;
    if (this.plane.mayAccept(link)) this.plane.onLink(link);
    else link.isUp = false;
  }

  private check(): void {
    const { gossip, table } = this.plane;
    const { store } = gossip;
    must(store.originCount <= MAX_NODES + 1, `${store.originCount} nodes are kept`);
    must(store.instances <= MAX_INSTANCES + MAX_SERVICES, `${store.instances} instances are kept`);
    const own = store.node(SELF.nodeId);
    must(own === undefined || own.bootId === SELF.bootId, 'what others say of it counts as its own');
    const mine = table.find('mine', 7).filter(({ nodeId }) => nodeId === SELF.nodeId);
    must(mine.length === 1 && mine[0].local, 'its own service is gone');
    for (const link of this.links) must(link.bytesSent < 16 * 1024 * 1024, `${link.bytesSent} bytes to one neighbour`);
  }
}

class HostileLink implements MeshLink {
  isUp = true;
  bytesSent = 0;
  readonly direction = 'inbound';
  readonly address = 'attached';
  readonly role = 'peer';
  readonly envDigests = ENVS;
  readonly peerAddresses = ['tcp://10.0.0.2:1'];
  readonly purpose = 'mesh';
  readonly isBlocked = false;
  readonly rttMs = 1;
  readonly capabilities: number;
  readonly streams = 0;

  constructor(
    readonly peerId: NodeId,
    readonly bootId: string,
    private readonly timers: Timers,
    isMember: boolean,
    private readonly onEnd: (error: Error | undefined) => void,
  ) {
    this.capabilities = isMember ? Capability.MEMBERS : 0;
  }

  get lastHeardMs(): number {
    return this.timers.now();
  }

  send(message: Message): void {
    this.bytesSent += encodeMessageOf(message).length;
  }

  ping(): Promise<number> {
    return Promise.resolve(1);
  }

  close(): void {
    this.end(undefined);
  }

  shed(): void {
    this.end(undefined);
  }

  destroy(error: Error): void {
    this.end(error);
  }

  end(error: Error | undefined): void {
    if (!this.isUp) return;
    this.isUp = false;
    this.onEnd(error);
  }
}

function newBook(now: () => number): MemberBook {
  return new MemberBook({
    authorities: [AUTHORITY.publicKey],
    statements: [],
    acceptsSecret: false,
    now,
    maxMembers: MAX_MEMBERS,
  });
}

let statements: Buffer[] | undefined;

/** Certificates and revocations of all nodes but this one. They are made once, as each takes a signature. */
function randomStatement(random: Random): Buffer {
  statements ??= [...NEIGHBOURS, ...OTHERS].flatMap(({ publicKey }, index) => {
    const rights = [{}, { relay: false }, { offer: ['echo'] }, { offer: [] }][index % 4];
    const [early, late] = [rights, {}].map((these, age) =>
      AUTHORITY.issue({ publicKey, name: `${index}`, rights: these, lifetimeMs: 60_000 * (age + 1) }, NOW_MS + age),
    );
    const revocation = AUTHORITY.revoke(publicKey, NOW_MS + 600_000, NOW_MS);
    return [encodeCertificateStatement(early), encodeCertificateStatement(late), revocation];
  });
  return random.pick(statements);
}

function randomPart(random: Random): Buffer {
  const what = random.below(8) + HAS_MEMBERS * random.below(2);
  if (what % HAS_MEMBERS >= What.WAITS) return Buffer.from([what, random.below(256)]);
  return Buffer.concat([Buffer.from([what]), randomMessage(random, SUBJECTS).subarray(4)]);
}

/** Ids of nodes that the node knows, or will know. */
const SUBJECTS: Subjects = {
  record: randomRecord,
  statement: randomStatement,
  key(random) {
    const { nodeId } = random.pick(NODES);
    return random.below(2) === 0 ? nodeId : `${nodeId}/0/1`;
  },
};

function randomRecord(random: Random): Buffer {
  // A record of the node itself from another run, as if another process had its key.
  const identity = random.below(12) === 0 ? identityOf('self', 2) : random.pick(NODES);
  const { publicKey, bootId, sign } = identity;
  const header = {
    publicKey,
    bootId,
    epoch: random.pick([0, 1, 1, 2, 0xffff_ffff]),
    seq: random.pick([0, 1, 2, 3, 0xffff_ffff]),
    lifeS: random.pick([1, 60, 3_600]),
  };
  if (random.below(2) === 0) {
    const links = random
      .sample([SELF, ...NEIGHBOURS, ...OTHERS], random.below(5))
      .map(({ nodeId }) => ({ peerId: nodeId, cost: random.below(256) }));
    const addresses = random.sample(['tcp://10.0.0.1:1', 'tcp://10.0.0.9:1', 'unix:/x', 'nonsense'], random.below(3));
    return encodeNodeRecord({ ...header, flags: random.below(16), envDigests: ENVS, addresses, links }, sign).bytes;
  }
  const shards = random.pick([1, 1, 2, 4]);
  const shard = random.below(shards);
  const services = random
    .sample(SERVICES, random.below(5))
    .map((service) => ({ service, port: random.below(3), weight: random.below(256), meta: undefined }))
    .filter(({ service, port }) => shardOfService(service, port, shards) === shard);
  return encodeShardRecord({ ...header, shard, shards, services }, sign).bytes;
}

/** The same records, signed again with the keys that they name. */
function recordsAgain(body: Buffer): Buffer {
  const copies: Buffer[] = [];
  for (let at = 0; at + 6 <= body.length; ) {
    const said = body.readUInt16BE(at + 4);
    const end = Math.min(body.length, at + 6 + said);
    const head = Buffer.from(body.subarray(at, at + 6));
    head.writeUInt16BE(end - at - 6, 4);
    copies.push(head, signAgain(body.subarray(at + 6, end)));
    at = end;
  }
  return Buffer.concat(copies);
}
