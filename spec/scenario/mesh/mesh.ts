// Nodes in processes of their own, in the shape that a spec wants, on loopback.

import { expect } from '@jest/globals';
import { type Dialled, Member, type OpenStream } from './member.js';
import type { Edge } from './shapes.js';

/** A server makes only the links that it is given, so that the shape does not change. */
const OPTIONS = { role: 'server', rejoinMinMs: 20, rejoinMaxMs: 200 };
/** How long a dial may take at any time, even just after a relay was killed. */
export const DIAL_MS = 2_000;

export interface Traffic {
  readonly client: Member;
  readonly service: Member;
  readonly streams: readonly OpenStream[];
}

export class Mesh {
  readonly members: Member[] = [];
  private nextKey = 1;

  /** @param options of all nodes, in addition to those that keep the shape */
  constructor(private readonly options: object = {}) {}

  /** Nodes linked as in `edges`; `serving` has the services of each. */
  async build(nodes: number, edges: readonly Edge[], serving: Readonly<Record<number, string>>): Promise<void> {
    const started = await Promise.allSettled(
      Array.from({ length: nodes }, (_, index) => this.start(serving[index] === undefined ? [] : [serving[index]])),
    );
    for (const outcome of started) {
      if (outcome.status === 'rejected') throw outcome.reason;
      this.members.push(outcome.value);
    }
    await Promise.all(edges.map(([one, other]) => this.members[one].join(this.members[other])));
    await Promise.all(this.members.map((member) => member.knows(nodes - 1)));
  }

  /** A process in the place of one that is gone, at the same address, linked to the same nodes. */
  async restart(index: number, edges: readonly Edge[], services: readonly string[] = []): Promise<void> {
    const { address } = this.members[index];
    this.members[index] = await this.start(services, address);
    // Those that had joined the one before come back by themselves.
    await Promise.all(
      edges.filter(([one]) => one === index).map(([, other]) => this.members[index].join(this.members[other])),
    );
  }

  /** Streams in traffic between two nodes. */
  async open(from: number, to: number, service: string, count: number): Promise<Traffic> {
    const keys = Array.from({ length: count }, () => this.nextKey++);
    const streams = await this.members[from].open(service, keys);
    return { client: this.members[from], service: this.members[to], streams };
  }

  /** A dial that has to succeed. */
  async dials(from: number, service: string): Promise<Dialled> {
    const dialled = await this.members[from].dial(service, DIAL_MS);
    expect(dialled).toEqual({ id: expect.anything(), ms: expect.any(Number), via: expect.any(Array) });
    expect(dialled.ms).toBeLessThanOrEqual(DIAL_MS);
    return dialled;
  }

  indexOf(nodeId: string): number {
    return this.members.findIndex((member) => member.nodeId === nodeId);
  }

  /** Ends all processes. Nothing that arrived anywhere was wrong, and what did not go on has said so. */
  async close(): Promise<void> {
    const members = this.members.splice(0);
    const faults = members.flatMap((member) => member.faults());
    // A stopped process reacts to this signal only.
    await Promise.all(members.map((member) => member.stop()));
    expect(faults).toEqual([]);
  }

  private start(services: readonly string[], listen = 'tcp://127.0.0.1:0'): Promise<Member> {
    return Member.start({ options: { ...OPTIONS, ...this.options }, listen, services });
  }
}

/** Streams that went through a node, and those that did not. */
export function through({ streams }: Traffic, nodeId: string): { hit: number[]; spared: number[] } {
  const hit = streams.filter(({ via }) => via.includes(nodeId)).map(({ key }) => key);
  const spared = streams.filter(({ via }) => !via.includes(nodeId)).map(({ key }) => key);
  return { hit, spared };
}

/** Both ends of each of the streams emit its end, with one of these codes. */
export async function breakWithReset({ client, service }: Traffic, keys: readonly number[]): Promise<void> {
  const codes = await Promise.all(keys.flatMap((key) => [client.broken(key), service.lost(key)]));
  expect(codes).toEqual(codes.map(() => 'ECONNRESET'));
}
