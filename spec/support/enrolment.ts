// A network of members in one process, for specs about enrolment: folders, nodes, and where joiners connect.

import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createNode, type Node, type NodeOptions } from '../../lib/index.js';
import { createNetwork } from '../../lib/members/index.js';

export class EnrolmentNet {
  readonly root = mkdtempSync(join(tmpdir(), 'enrolment-'));
  readonly networkId: string;
  private readonly nodes: Node[] = [];
  private readonly warnings = new Map<Node, Error[]>();
  private readonly addresses = new Map<Node, string>();

  /** Makes a network whose first member is called `first`, in the folder of that name. */
  constructor(lifetimeMs?: number) {
    this.networkId = createNetwork(this.folder('first'), { name: 'first', lifetimeMs }).networkId;
  }

  folder(name: string): string {
    return join(this.root, name);
  }

  /** Starts the node of a folder, which listens. */
  async start(name: string, options: NodeOptions = {}): Promise<Node> {
    const node = createNode({ credentials: this.folder(name), ...options });
    const warnings: Error[] = [];
    node.on('warning', (warning) => warnings.push(warning));
    this.warnings.set(node, warnings);
    this.nodes.push(node);
    this.addresses.set(node, (await node.listenAndServe('tls://127.0.0.1:0')).address);
    return node;
  }

  addressOf(node: Node): string {
    return this.addresses.get(node) as string;
  }

  /** The warnings of a node with this code, of those there are or the next one. */
  async warning(node: Node, code: string): Promise<string> {
    for (;;) {
      const found = this.warnings.get(node)?.find((warning) => (warning as { code?: string }).code === code);
      if (found !== undefined) return found.message;
      await once(node, 'warning');
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.close()));
    rmSync(this.root, { recursive: true, force: true });
  }
}
