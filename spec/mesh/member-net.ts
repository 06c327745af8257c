// Control planes of one network with an authority, in one process: links in memory with a latency, time that a spec moves, real keys and
// certificates. Messages go through their codecs.

import type { NodeId } from '../../lib/address.js';
import type { Authority, IssueRequest } from '../../lib/identity/authority.js';
import type { OwnIdentity } from '../../lib/identity/identity.js';
import type { MemberBook } from '../../lib/identity/member-book.js';
import { RecordSignatures } from '../../lib/identity/signatures.js';
import type { LinkPurpose } from '../../lib/link/link-purpose.js';
import { ControlPlane } from '../../lib/mesh/control-plane.js';
import type { MeshLink } from '../../lib/mesh/ports.js';
import type { NodeRole } from '../../lib/options/options.js';
import { Timers } from '../../lib/util/timers.js';
import { MessageReader } from '../../lib/wire/message.js';
import {
  Capability,
  decodeMessage,
  encodeMessageOf,
  envDigests,
  type Message,
  MessageType,
} from '../../lib/wire/messages.js';
import { FakeClock } from '../support/fake-clock.js';
import { newAuthority, newBook, newMember, type TestMember } from '../support/members.js';
import { turn } from '../support/turns.js';
import { seededRandom } from './gossip-net.js';

const START = Date.UTC(2030, 0, 1);
const LATENCY_MS = 5;
const ENVS = envDigests([]);
const signatures = new RecordSignatures();

export class MemberLink implements MeshLink {
  isUp = true;
  isBlocked = false;
  readonly address = 'attached';
  readonly envDigests = ENVS;
  readonly peerAddresses: readonly string[] = [];
  readonly rttMs = 2 * LATENCY_MS;
  readonly streams = 0;
  readonly sent: Message[] = [];
  error: Error | undefined;
  other!: MemberLink;
  /** Receives the messages at this end instead of a node. */
  tap: ((message: Message) => void) | undefined;

  constructor(
    readonly end: MemberNode,
    readonly peer: MemberNode,
    readonly direction: 'inbound' | 'outbound',
    public purpose: LinkPurpose,
  ) {}

  get peerId(): NodeId {
    return this.peer.id;
  }

  get bootId(): string {
    return this.peer.identity.bootId;
  }

  get role(): NodeRole {
    return this.peer.options.role ?? 'peer';
  }

  get capabilities(): number {
    return this.peer.book === undefined ? 0 : Capability.MEMBERS;
  }

  get lastHeardMs(): number {
    return this.end.net.clock.now();
  }

  get sentTypes(): number[] {
    return this.sent.map(({ type }) => type);
  }

  /** The statements that were sent. */
  get statements(): Uint8Array[] {
    return this.sent.flatMap((message) => (message.type === MessageType.MEMBERS ? message.statements : []));
  }

  send(message: Message): void {
    if (!this.isUp) return;
    this.sent.push(message);
    const bytes = encodeMessageOf(message);
    this.end.net.clock.setTimeout(() => this.other.receive(bytes), LATENCY_MS);
  }

  ping(): Promise<number> {
    return Promise.resolve(this.rttMs);
  }

  drain(): void {
    this.isBlocked = false;
    this.end.plane.onUnblocked(this);
  }

  close(): void {
    this.destroy(new Error('closed'));
  }

  shed(): void {
    this.close();
  }

  destroy(error: Error): void {
    if (!this.isUp) return;
    this.isUp = false;
    this.error = error;
    this.end.links.delete(this);
    this.end.plane.onUnlink(this, true);
    this.end.net.clock.setTimeout(() => this.other.destroy(new Error('the other end was destroyed')), LATENCY_MS);
  }

  private receive(bytes: Buffer): void {
    if (!this.isUp) return;
    new MessageReader(decodeMessage, (message) => {
      if (this.tap !== undefined) this.tap(message);
      else this.end.plane.onMessage(this, message);
    }).push(bytes);
  }
}

export interface MemberNodeOptions extends Partial<Omit<IssueRequest, 'publicKey'>> {
  readonly role?: NodeRole;
  /** False: it has no book, as with a secret alone. */
  readonly hasBook?: boolean;
  readonly acceptsSecret?: boolean;
  /** Default: as of now. */
  readonly member?: TestMember;
  readonly maxMembers?: number;
}

export class MemberNode {
  readonly member: TestMember;
  readonly identity: OwnIdentity;
  readonly book: MemberBook | undefined;
  readonly plane: ControlPlane;
  readonly links = new Set<MemberLink>();
  readonly warnings: Error[] = [];
  readonly synced: MeshLink[] = [];

  constructor(
    readonly net: MemberNet,
    readonly options: MemberNodeOptions,
  ) {
    const { role = 'peer', hasBook = true, acceptsSecret = false, member, maxMembers, ...request } = options;
    this.member = member ?? newMember(net.authority, { name: `member ${net.nodes.length}`, ...request }, net.now());
    this.identity = this.member.identity;
    const { authority } = net;
    const statements = [this.member.statement];
    this.book = hasBook ? newBook(authority, { now: net.now, acceptsSecret, statements, maxMembers }) : undefined;
    const { links } = this;
    this.plane = new ControlPlane({
      environment: {
        identity: this.identity,
        timers: new Timers(net.clock),
        random: net.random,
        verify: (record) => signatures.verify(record),
        warn: (error) => this.warnings.push(error),
      },
      network: {
        dial: () => Promise.reject(new Error('nothing is dialled here')),
        resolve: async (address) => [address],
        probe: async () => 'refused',
        listenAddresses: [],
        links: () => links,
      },
      options: {
        role,
        relay: role !== 'client',
        envDigests: ENVS,
        seeds: [],
        backOff: { minMs: 500, maxMs: 60_000 },
        keepAliveMs: 1e9,
        keepAliveTimeoutMs: 1e9,
        firstEpoch: 1,
        maxServicesPerNode: 100,
        maxNodes: 1_000,
        maxInstances: 1_000,
        members: this.book,
      },
      owner: {
        onService: () => {},
        onUnservice: () => {},
        onRoute: () => {},
        onUnroute: () => {},
        onSynced: (link) => this.synced.push(link),
        onEpoch: () => {},
      },
    });
    this.plane.start();
  }

  get id(): NodeId {
    return this.identity.nodeId;
  }

  /** Names of the services that it knows, its own included, sorted. */
  get services(): string[] {
    return [...this.plane.table.values()].map(({ service }) => service).sort();
  }

  /** Whether it holds the certificate of another node. */
  knows(node: MemberNode): boolean {
    return this.book?.member(node.id) !== undefined;
  }

  reaches(node: MemberNode): boolean {
    return this.plane.routing.isReachable(node.id);
  }

  bind(service: string): void {
    this.plane.bind(service, 0, 1, undefined);
  }
}

export class MemberNet {
  readonly clock = new FakeClock();
  readonly authority: Authority = newAuthority();
  readonly nodes: MemberNode[] = [];
  readonly random = seededRandom(7);
  /** By the wall clock. */
  readonly now = (): number => START + this.clock.now();

  add(options: MemberNodeOptions = {}): MemberNode {
    const node = new MemberNode(this, options);
    this.nodes.push(node);
    return node;
  }

  addAll(count: number, options: MemberNodeOptions = {}): MemberNode[] {
    return Array.from({ length: count }, () => this.add(options));
  }

  /** Links two nodes; returns both ends. */
  link(a: MemberNode, b: MemberNode, purpose: LinkPurpose = 'mesh'): [MemberLink, MemberLink] {
    const one = new MemberLink(a, b, 'outbound', purpose);
    const other = new MemberLink(b, a, 'inbound', purpose);
    one.other = other;
    other.other = one;
    for (const link of [one, other]) {
      link.end.links.add(link);
      link.end.plane.onLink(link);
    }
    return [one, other];
  }

  /** Links each to the next. */
  chain(...nodes: MemberNode[]): void {
    for (let at = 1; at < nodes.length; at++) this.link(nodes[at - 1], nodes[at]);
  }

  /** A new certificate for the key of a node. */
  renew(node: MemberNode, request: Partial<IssueRequest> = {}): TestMember {
    return newMember(this.authority, { name: 'member', ...request }, this.now(), node.identity);
  }

  revocation(node: MemberNode): Buffer {
    return this.authority.revoke(node.identity.publicKey, this.now() + 40 * 86_400_000, this.now());
  }

  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 5) {
      await turn();
      this.clock.advance(Math.min(left, 5));
      for (let turns = 0; this.clock.immediatesWaiting > 0 && turns < 10_000; turns++) this.clock.runImmediates();
    }
    await turn();
  }

  /** Lets time pass until something holds. */
  async until(what: string, isSo: () => boolean, limitMs = 60_000): Promise<void> {
    for (let passed = 0; !isSo(); passed += 5) {
      if (passed >= limitMs) throw new Error(`not within ${limitMs} ms: ${what}`);
      await this.pass(5);
    }
  }

  dispose(): void {
    for (const { plane } of this.nodes) plane.dispose();
  }
}
