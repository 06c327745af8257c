// A RelayNet whose nodes are members, all known to each other, each with a book whose clock a spec can move.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Authority, IssueRequest } from '../../lib/identity/authority.js';
import { writeCredentials } from '../../lib/identity/credentials.js';
import type { MemberBook } from '../../lib/identity/member-book.js';
import type { Node, NodeOptions } from '../../lib/index.js';
import type { ControlPlane } from '../../lib/mesh/control-plane.js';
import type { Edge } from './graph-routes.js';
import { newAuthority, newMember, type TestMember } from './members.js';
import { RelayNet } from './relay-net.js';
import { turnsUntil } from './turns.js';

const DAY_MS = 86_400_000;

export interface MemberNetOptions {
  readonly node?: NodeOptions;
  readonly nodes?: Readonly<Record<number, NodeOptions>>;
  /** What the certificates of single nodes say. By default, node 2 is called `n2`. */
  readonly members?: Readonly<Record<number, Partial<IssueRequest>>>;
}

export class MemberNet {
  readonly authority: Authority = newAuthority();
  readonly members: TestMember[] = [];
  net!: RelayNet;
  private readonly folder = mkdtempSync(join(tmpdir(), 'starlane-members-'));
  /** By how much the clocks of all books are ahead. */
  private aheadMs = 0;

  static async of(
    edges: readonly Edge[],
    { node, nodes = {}, members = {} }: MemberNetOptions = {},
  ): Promise<MemberNet> {
    const made = new MemberNet();
    const size = 1 + Math.max(...edges.flat());
    const options: Record<number, NodeOptions> = {};
    for (let index = 0; index < size; index++) {
      const member = newMember(made.authority, { name: `n${index}`, ...members[index] });
      made.members.push(member);
      const credentials = join(made.folder, `${index}`);
      writeCredentials(credentials, {
        key: member.identity.privateKey,
        certificate: member.certificate,
        authorities: [made.authority.certificate],
        seeds: [],
        statements: [],
      });
      options[index] = { credentials, ...nodes[index] };
    }
    made.net = await RelayNet.of(edges, { node, nodes: options });
    for (const book of made.books()) {
      for (const { statement } of made.members) book.add(statement);
      Reflect.set(book, 'now', () => Date.now() + made.aheadMs);
    }
    await turnsUntil('all nodes know each other', () => made.net.nodes.every((one) => made.knowsAll(one)));
    return made;
  }

  /** 0 - 1 - 2 - ... with `relays` nodes between the ends. */
  static line(relays: number, options?: MemberNetOptions): Promise<MemberNet> {
    return MemberNet.of(
      Array.from({ length: relays + 1 }, (_, index) => [index, index + 1] as const),
      options,
    );
  }

  get first(): Node {
    return this.net.first;
  }

  get last(): Node {
    return this.net.last;
  }

  book(index: number): MemberBook {
    return bookOf(this.net.nodes[index]);
  }

  books(): MemberBook[] {
    return this.net.nodes.map(bookOf);
  }

  /** The revocation of a member. */
  revocationOf(index: number): Buffer {
    return this.authority.revoke(this.members[index].identity.publicKey, Date.now() + 30 * DAY_MS);
  }

  /** The clocks of all nodes move on. */
  pass(ms: number): void {
    this.aheadMs += ms;
  }

  /** Whether a node has the records of all others. */
  private knowsAll(node: Node): boolean {
    const { gossip } = Reflect.get(node, 'mesh') as ControlPlane;
    return this.net.nodes.every(({ id }) => id === node.id || gossip.store.node(id) !== undefined);
  }

  async close(): Promise<void> {
    await this.net.close();
    rmSync(this.folder, { recursive: true });
  }
}

export function bookOf(node: Node): MemberBook {
  return (Reflect.get(node, 'credentials') as { members: MemberBook }).members;
}
