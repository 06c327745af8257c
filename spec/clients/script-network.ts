// Unchanged scripts in a process of their own, under the preload, and the node whose services they use.

import { afterEach, beforeEach, expect } from '@jest/globals';
import { createNode, type Node } from '../../lib/index.js';
import { runPreloaded } from '../support/built-lib.js';
import type { Line } from '../support/child.js';
import { within } from '../support/deadline.js';
import { listenAddress } from '../support/testnet.js';
import { SpecNodes } from './spec-nodes.js';

/** How scripts reach the services. */
export type Way = 'over a link' | 'with a secret, through a relay';
export const WAYS: readonly Way[] = ['over a link', 'with a secret, through a relay'];

/** Loading a large library may take a while. */
const SCRIPT_DEADLINE_MS = 60_000;

/** For jest: how long a spec with a script may take. */
export const SCRIPT_SPEC_MS = 90_000;

const OPTIONS = { closeTimeoutMs: 200 };
const SECRET = 'sixteen bytes or more';

export class ScriptNetwork extends SpecNodes {
  private node!: Node;
  private relay: Node | undefined;
  private environment: Record<string, string> = {};

  constructor(private readonly way: Way) {
    super();
  }

  /** Where servers are bound. */
  get server(): Node {
    return this.node;
  }

  /** What the script said, when it has ended well. */
  async run(kind: 'module' | 'commonjs', script: string): Promise<readonly Line[]> {
    const child = runPreloaded(kind, script, this.environment);
    this.finally(() => child.stop());
    const code = await within('the end of the script', child.exited, SCRIPT_DEADLINE_MS).catch(
      (error: Error) => error.message,
    );
    const { errors, lines } = child;
    expect({ code, errors, lines }).toEqual({ code: 0, errors: '', lines });
    if (this.relay !== undefined) expect(this.relay.stats().relay.opened).toBeGreaterThan(0);
    return lines;
  }

  protected async openNodes(): Promise<void> {
    if (this.way === 'over a link') {
      this.node = createNode(OPTIONS);
      const { address } = await this.node.listenAndServe(listenAddress('unix'));
      this.environment = { STARLANE_JOIN: address };
      return;
    }
    // Only the relay can be joined, so that there is no other path.
    this.relay = createNode({ ...OPTIONS, secret: SECRET });
    this.node = createNode({ ...OPTIONS, secret: SECRET });
    const { address } = await this.relay.listenAndServe(listenAddress('tls'));
    await this.node.join(address);
    this.environment = { STARLANE_JOIN: address, STARLANE_SECRET: SECRET };
  }

  protected async closeNodes(): Promise<Node[]> {
    const nodes = this.relay === undefined ? [this.node] : [this.node, this.relay];
    await Promise.all(nodes.map((node) => node.close()));
    return nodes;
  }
}

/** For the specs of a describe block. */
export function scriptNetwork(way: Way): ScriptNetwork {
  const network = new ScriptNetwork(way);
  beforeEach(() => network.open());
  afterEach(() => network.close());
  return network;
}
