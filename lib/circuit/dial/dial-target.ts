// Where a dial goes, and the ids of circuits. A DialTarget is a parsed address or several, kept with the parts of OPEN that do not change.

import { randomFillSync } from 'node:crypto';
import { type NodeId, nodeIdToBytes, parseServiceAddress, splitInstance } from '../../address.js';
import { starlaneError } from '../../errors.js';
import type { ServiceInstance } from '../../mesh/directory/service.js';
import { hostOfStandIn } from '../../socket/endpoints.js';
import { readUint32 } from '../../wire/fields.js';
import { Destination } from './destination.js';

const ID_BYTES = 16;
const DRAWN_IDS = 256;

/**
 * Ids that no two circuits of a network share, and that cannot be guessed: a relay takes an id that it has seen for a loop, so an
 * attacker who knew the next ones could use them up. Random bytes are drawn for many ids at once.
 */
export class CircuitIds {
  /** The newest id, 16 bytes; the next one takes its place. */
  readonly bytes: Uint8Array = new Uint8Array(ID_BYTES);
  private readonly drawn = new Uint8Array(DRAWN_IDS * ID_BYTES);
  private at = this.drawn.length;

  next(): Uint8Array {
    const { bytes, drawn } = this;
    if (this.at === drawn.length) {
      randomFillSync(drawn);
      this.at = 0;
    }
    for (let index = 0; index < ID_BYTES; index++) bytes[index] = drawn[this.at + index];
    this.at += ID_BYTES;
    return bytes;
  }
}

/** Returns a number that spreads circuits over equal routes: the same for a circuit at every node. */
export function circuitHash(circuitId: Uint8Array): number {
  return readUint32(circuitId, 4) ^ readUint32(circuitId, 12);
}

/** How many parsed addresses are kept. A program dials few, and one that dials many gains nothing from any cache. */
const MAX_TARGETS = 1024;

/** A service of a destination. */
export interface Alternative {
  readonly target: DialTarget;
  /** See Share. */
  readonly weight: number;
}

export class DialTarget {
  private lastNodeId: NodeId | undefined;
  private lastNodeIdBytes: Uint8Array | undefined;
  private keyText: string | undefined;

  constructor(
    /** Empty: by port alone. */
    readonly service: string,
    /** Undefined: any port. */
    readonly port: number | undefined,
    /** Undefined: any node that offers the service. */
    readonly nodeId: NodeId | undefined,
    /** The name in errors: the service, `@nodeId`, or empty. */
    readonly name: string,
    /** Services of which one is dialled, in groups, see Destination; undefined: this target has one itself. */
    readonly groups: ReadonlyArray<readonly Alternative[]> | undefined = undefined,
  ) {}

  /** A text that no other target has. */
  get key(): string {
    // Names have no white space.
    this.keyText ??= this.groups === undefined ? `${this.name}:${this.port ?? ''}` : ` ${this.name}`;
    return this.keyText;
  }

  /** The services, of which one is dialled: of a single target that itself. */
  get alternatives(): readonly DialTarget[] {
    return this.groups === undefined ? [this] : this.groups.flat().map(({ target }) => target);
  }

  /** The names under which instances of it may appear. */
  get names(): readonly string[] {
    if (this.groups !== undefined) return [...new Set(this.alternatives.flatMap((one) => one.names))];
    const split = splitInstance(this.service);
    return split === undefined ? [this.service] : [this.service, split.service];
  }

  /** Whether an instance that has appeared may be one of it. */
  fits(instance: ServiceInstance): boolean {
    if (this.groups !== undefined) return this.alternatives.some((one) => one.fits(instance));
    if (this.service === instance.service) return true;
    const split = instance.instance === undefined ? undefined : splitInstance(this.service);
    return split?.service === instance.service && split.instance === instance.instance;
  }

  /** Returns the bytes of a node id, which is mostly the same one again. */
  bytesOf(nodeId: NodeId): Uint8Array {
    if (this.lastNodeIdBytes === undefined || this.lastNodeId !== nodeId) {
      this.lastNodeIdBytes = nodeIdToBytes(nodeId);
      this.lastNodeId = nodeId;
    }
    return this.lastNodeIdBytes;
  }
}

/** Returns the address that is meant by one that stands for a node or a service. */
function meant(address: string): string {
  if (typeof address !== 'string') return address;
  const colon = address.lastIndexOf(':');
  const host = hostOfStandIn(colon < 0 ? address : address.slice(0, colon));
  return host === undefined ? address : host + (colon < 0 ? '' : address.slice(colon));
}

/** Parses addresses, once. */
export class DialTargets {
  private readonly targets = new Map<string, DialTarget>();
  private readonly destinations = new WeakMap<Destination, DialTarget>();

  constructor(private readonly self: NodeId) {}

  /** @throws ERR_STARLANE_ADDRESS */
  get(address: string | Destination): DialTarget {
    if (address instanceof Destination) return this.several(address);
    const known = this.targets.get(address);
    if (known !== undefined) return known;
    if (this.targets.size >= MAX_TARGETS) this.targets.clear();
    const target = this.parse(address);
    this.targets.set(address, target);
    return target;
  }

  private several(destination: Destination): DialTarget {
    let target = this.destinations.get(destination);
    if (target === undefined) {
      const groups = destination.groups.map((group) =>
        group.map(({ address, weight }) => ({ target: this.parse(address), weight })),
      );
      target = new DialTarget('', undefined, undefined, destination.toString(), groups);
      this.destinations.set(destination, target);
    }
    return target;
  }

  private parse(address: string): DialTarget {
    const parsed = parseServiceAddress(meant(address));
    if (parsed.port === 0) throw starlaneError('ERR_STARLANE_ADDRESS', `${address}: port 0 cannot be dialled`);
    switch (parsed.kind) {
      case 'service':
        return new DialTarget(parsed.service, parsed.port, undefined, parsed.service);
      case 'port':
        return new DialTarget('', parsed.port, this.self, '');
      case 'node':
        return new DialTarget('', parsed.port, parsed.nodeId, `@${parsed.nodeId}`);
    }
  }
}
