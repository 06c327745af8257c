// Links, records and a network that a spec controls, in its own time.

import type { NodeId } from '../../lib/address.js';
import type { LinkPurpose } from '../../lib/link/link-purpose.js';
import type { Resolution } from '../../lib/link/names/seed-records.js';
import { MeshDialer } from '../../lib/mesh/neighbours/dialer.js';
import type { NeighbourhoodContext } from '../../lib/mesh/neighbours/neighbourhood.js';
import { Neighbours } from '../../lib/mesh/neighbours/neighbours.js';
import { PeerBook } from '../../lib/mesh/neighbours/peer-book.js';
import type {
  LinkRequest,
  MeshEnvironment,
  MeshLink,
  MeshNetwork,
  MeshView,
  ProbeResult,
} from '../../lib/mesh/ports.js';
import type { NodeRole } from '../../lib/options/options.js';
import { Timers } from '../../lib/util/timers.js';
import { NodeFlag, type NodeRecord } from '../../lib/wire/records.js';
import { FakeClock } from '../support/fake-clock.js';
import { turn } from '../support/turns.js';

export const MINUTE_MS = 60_000;
export const BACK_OFF = { minMs: 500, maxMs: MINUTE_MS };

export class ScriptedLink implements MeshLink {
  readonly bootId: string = '00000000-0000-4000-8000-000000000000';
  direction: 'inbound' | 'outbound' = 'outbound';
  address = '';
  role: NodeRole = 'peer';
  readonly envDigests: readonly string[] = [];
  peerAddresses: readonly string[] = [];
  purpose: LinkPurpose = 'mesh';
  isUp = true;
  readonly isBlocked = false;
  rttMs = 0;
  streams = 0;
  lastHeardMs = 0;
  pings = 0;
  /** How it was ended by this side. */
  end: 'close' | 'shed' | Error | undefined;
  /** Told when this side ends it. */
  onEnd: (link: ScriptedLink) => void = () => {};

  constructor(
    readonly peerId: NodeId,
    part: Partial<ScriptedLink> = {},
  ) {
    Object.assign(this, { address: addressOf(peerId) }, part);
  }

  send(): void {}

  ping(): Promise<number> {
    this.pings++;
    return new Promise(() => {});
  }

  close(): void {
    this.finish('close');
  }

  shed(): void {
    this.finish('shed');
  }

  destroy(error: Error): void {
    this.finish(error);
  }

  private finish(end: 'close' | 'shed' | Error): void {
    if (!this.isUp) return;
    this.isUp = false;
    this.end = end;
    this.onEnd(this);
  }
}

export interface Dial {
  readonly address: string;
  readonly request: LinkRequest;
  readonly atMs: number;
}

/** The outcome of a dial of an address; a function is called for each dial. Undefined: the dial never ends. */
export type Outcome = ScriptedLink | Error | undefined | ((request: LinkRequest) => ScriptedLink | Error | undefined);

export class ScriptedNetwork implements MeshNetwork {
  listenAddresses: readonly string[] = ['tcp://10.9.9.9:1'];
  ownAddresses?: readonly string[];
  readonly dials: Dial[] = [];
  readonly probes: string[] = [];
  readonly outcomes = new Map<string, Outcome>();
  readonly found = new Map<string, ProbeResult>();
  /** How long a probe takes, in ms. */
  readonly probeMs = new Map<string, number>();
  readonly names = new Map<string, readonly string[] | Resolution | Error>();
  readonly resolved: string[] = [];
  readonly up = new Set<ScriptedLink>();
  /** A dialled link is up. */
  onUp: (link: ScriptedLink) => void = () => {};
  going = 0;
  mostGoing = 0;

  constructor(private readonly timers: Timers) {}

  get addresses(): string[] {
    return this.dials.map(({ address }) => address);
  }

  links(): Iterable<MeshLink> {
    return this.up;
  }

  async dial(address: string, request: LinkRequest): Promise<MeshLink> {
    this.dials.push({ address, request, atMs: this.timers.now() });
    this.mostGoing = Math.max(this.mostGoing, ++this.going);
    try {
      await turn();
      const planned = this.outcomes.get(address);
      const outcome = typeof planned === 'function' ? planned(request) : planned;
      if (outcome === undefined) {
        return await new Promise<never>((_, reject) => {
          request.signal?.addEventListener('abort', () => reject(request.signal?.reason), { once: true });
        });
      }
      if (outcome instanceof Error) throw outcome;
      outcome.isUp = true;
      outcome.purpose = request.purpose;
      if (!this.up.has(outcome)) {
        this.up.add(outcome);
        this.onUp(outcome);
      }
      return outcome;
    } finally {
      this.going--;
    }
  }

  async resolve(address: string): Promise<readonly string[] | Resolution> {
    this.resolved.push(address);
    const resolved = this.names.get(address) ?? [address];
    if (resolved instanceof Error) throw resolved;
    return resolved;
  }

  probe(address: string): Promise<ProbeResult> {
    this.probes.push(address);
    const found = this.found.get(address);
    return new Promise((resolve) => {
      const tell = { onDeadline: () => resolve(found ?? 'open') };
      this.timers.schedule(this.probeMs.get(address) ?? 0, tell);
    });
  }
}

export class ScriptedView implements MeshView {
  readonly records = new Map<NodeId, NodeRecord>();
  readonly reached = new Set<NodeId>();
  readonly banned = new Set<NodeId>();
  readonly strangers = new Set<NodeId>();
  readonly leaves = new Set<NodeId>();
  readonly distances = new Map<NodeId, number>();

  get reachable(): number {
    return this.reached.size;
  }

  isReachable(nodeId: NodeId): boolean {
    return this.reached.has(nodeId);
  }

  isBanned(nodeId: NodeId): boolean {
    return this.banned.has(nodeId);
  }

  isMember(nodeId: NodeId): boolean {
    return !this.strangers.has(nodeId);
  }

  mayRelay(nodeId: NodeId): boolean {
    return !this.leaves.has(nodeId);
  }

  node(nodeId: NodeId): NodeRecord | undefined {
    return this.records.get(nodeId);
  }

  nodes(): Iterable<NodeRecord> {
    return this.records.values();
  }

  distance(nodeId: NodeId): number | undefined {
    return this.distances.get(nodeId);
  }

  /** A node that is known and reached. */
  add(nodeId: NodeId, part: Partial<NodeRecord> & { others?: number } = {}): NodeRecord {
    const record = nodeRecord(nodeId, part);
    this.records.set(nodeId, record);
    this.reached.add(nodeId);
    return record;
  }
}

export function nodeRecord(nodeId: NodeId, part: Partial<NodeRecord> & { others?: number } = {}): NodeRecord {
  const { others = 5, ...rest } = part;
  return {
    nodeId,
    flags: NodeFlag.RELAY,
    addresses: [addressOf(nodeId)],
    links: Array.from({ length: others }, (_, index) => ({ peerId: `other-${index}`, cost: 1 })),
    ...rest,
  } as NodeRecord;
}

export function addressOf(nodeId: NodeId): string {
  return `tcp://${nodeId}.test:1`;
}

export const SELF = 'self';

/** Everything that a part of the neighbourhood is given. */
export class Scene {
  readonly clock = new FakeClock();
  readonly timers = new Timers(this.clock);
  readonly network = new ScriptedNetwork(this.timers);
  readonly view = new ScriptedView();
  /** The next results of random(); 0.5 when it is empty, unless a seed was given. */
  draws: number[] = [];
  readonly environment: MeshEnvironment;
  readonly warnings: Error[] = [];

  constructor(seed?: number) {
    const generator = seed === undefined ? () => 0.5 : seeded(seed);
    this.environment = {
      identity: { nodeId: SELF, publicKey: new Uint8Array(32), bootId: '', sign: () => new Uint8Array(64) },
      timers: this.timers,
      random: () => this.draws.shift() ?? generator(),
      verify: () => true,
      warn: (error) => this.warnings.push(error),
    };
  }

  /** What the parts of a neighbourhood share. A spec passes the parts that it makes itself. */
  share(
    parts: Partial<NeighbourhoodContext> = {},
    role: NodeRole = 'peer',
    seeds: readonly string[] = [],
  ): NeighbourhoodContext {
    const { environment, network, view } = this;
    const neighbours = new Neighbours(SELF, view);
    const dialer = new MeshDialer(environment, network, BACK_OFF);
    const options = { role, seeds, backOff: BACK_OFF };
    return { environment, network, view, options, neighbours, dialer, book: new PeerBook(), ...parts };
  }

  /** Nodes n1 to n<count>: known, reached, and there when they are dialled. */
  addNodes(count: number, part: Partial<NodeRecord> & { others?: number } = {}): NodeId[] {
    const ids = Array.from({ length: count }, (_, index) => `n${index + 1}`);
    for (const id of ids) {
      this.view.add(id, part);
      this.network.outcomes.set(addressOf(id), () => new ScriptedLink(id));
    }
    return ids;
  }

  /** Time goes on in steps, so that what promises lead to happens about when it is due. */
  async pass(ms: number, stepMs = 50): Promise<void> {
    await turn();
    for (let left = ms; left > 0; left -= stepMs) {
      this.clock.advance(Math.min(left, stepMs));
      this.clock.runImmediates();
      await turn();
    }
    await turn();
  }
}

export function refused(): Error {
  return Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
}

/** mulberry32: small, and good enough to choose by. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
