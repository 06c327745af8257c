// A served mesh for the specs of a file, members and strangers that attack it, and what must hold while they do.

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, expect } from '@jest/globals';
import { within } from './deadline.js';
import { HostileMember, portOf } from './hostile-member.js';
import { bytesInUse, ServedMesh } from './served-mesh.js';
import { turnsUntil } from './turns.js';

export const SECRET = 'known to every member of it';
const MIB = 1024 * 1024;
/** Small limits, so that an attack of a second reaches them. */
export const LIMITS = {
  handshakeTimeoutMs: 700,
  maxPendingHandshakes: 8,
  acceptBacklog: 64,
  maxServicesPerPeer: 1_000,
  maxNodes: 200,
  receiveBudgetBytes: 2 * MIB,
  keepAliveMs: 500,
  keepAliveTimeoutMs: 2_000,
};

/** A second of them, or more if the attack takes longer. */
const ECHOES = 4_000;
/** The nodes share one process here, and wait for each other. In turns, as times would depend on the machine. */
const NOISE_TURNS = 3;
const MAX_GROWTH_BYTES = 24 * MIB;

export class AttackedMesh {
  mesh!: ServedMesh;
  /** What an echo takes without an attack, in turns. */
  private normalTurns!: number;
  private readonly members: HostileMember[] = [];
  private readonly sockets: Socket[] = [];

  constructor() {
    beforeAll(async () => {
      this.mesh = await ServedMesh.of(SECRET, LIMITS);
      await this.mesh.during(ECHOES);
      this.normalTurns = await this.mesh.during(ECHOES);
    }, 60_000);
    afterEach(() => this.clear());
    afterAll(() => this.mesh.close());
  }

  /** A member with a link to node 2, to which all traffic goes, or to another. */
  async member(index = 2, options?: Parameters<typeof HostileMember.at>[2]): Promise<HostileMember> {
    const member = await HostileMember.at(this.mesh.addresses[index].tcp, SECRET, options);
    this.members.push(member);
    return member;
  }

  /** A connection that can send anything. */
  async stranger(address: string): Promise<Socket> {
    const socket = connect(portOf(address), '127.0.0.1')
      .on('error', () => {})
      .resume();
    this.sockets.push(socket);
    await once(socket, 'connect');
    return socket;
  }

  /** The three serve each other while `attack` goes on, and afterwards, as they do when there is none. */
  async keepsServing(attack: () => Promise<unknown>): Promise<void> {
    const { mesh, normalTurns } = this;
    const before = await bytesInUse();
    const turns = await mesh.during(ECHOES, () => within('the attack', attack()));
    expect(turns).toBeLessThanOrEqual(2 * normalTurns + NOISE_TURNS);
    expect((await bytesInUse()) - before).toBeLessThan(MAX_GROWTH_BYTES);
    expect([mesh.isWhole, mesh.lost]).toEqual([true, []]);
  }

  /** The node has ended the link to that member, for that reason. */
  async isCutOff(offender: HostileMember, code: string): Promise<void> {
    await within('the end of its link', offender.over());
    expect(await this.whyUnlinked(offender)).toBe(code);
  }

  async whyUnlinked({ identity: { nodeId } }: HostileMember): Promise<string | undefined> {
    const { unlinked } = this.mesh;
    await turnsUntil('the node says so', () => unlinked.has(nodeId), 10_000_000);
    return unlinked.get(nodeId);
  }

  /** The node has not ended the link: the attack affects only its own circuits. */
  isStillLinked(offender: HostileMember): void {
    expect(offender.ended).toBeUndefined();
    expect(this.mesh.nodes[2].links().map(({ peerId }) => peerId)).toContain(offender.identity.nodeId);
  }

  private async clear(): Promise<void> {
    const { mesh, members, sockets } = this;
    for (const { socket, session } of members.splice(0)) {
      socket.destroy();
      session.destroy();
    }
    for (const socket of sockets.splice(0)) socket.destroy();
    for (const warnings of mesh.warnings) warnings.length = 0;
    const ids = new Set(mesh.nodes.map(({ id }) => id));
    await turnsUntil('only the three are linked', () =>
      mesh.nodes.every((node) => node.links().every(({ peerId }) => ids.has(peerId))),
    );
  }
}
