// Nodes that are made for each spec and closed after it, together with what the spec opened on them.

import { expect } from '@jest/globals';
import type { Node } from '../../lib/index.js';
import { within } from '../support/deadline.js';
import { nothingLeft, watchHandles } from '../support/open-handles.js';

const CLOSE_DEADLINE_MS = 5000;

/** Something that a spec opened, with the way to close it. */
type Closer = () => unknown;

export abstract class SpecNodes {
  private closers: Closer[] = [];

  /** Called at the end of the spec, the last one first. */
  finally(closer: Closer): void {
    this.closers.push(closer);
  }

  async open(): Promise<void> {
    watchHandles();
    await this.openNodes();
  }

  async close(): Promise<void> {
    const failures: unknown[] = [];
    for (const closer of this.closers.splice(0).reverse()) {
      await within('the end of a client or server', run(closer), CLOSE_DEADLINE_MS).catch((error) =>
        failures.push(error),
      );
    }
    const nodes = await this.closeNodes();
    expect(failures).toEqual([]);
    for (const node of nodes) expect(node.stats().holds).toBe(0);
    await nothingLeft();
  }

  protected abstract openNodes(): Promise<void>;

  /** Closes all nodes, and returns them. */
  protected abstract closeNodes(): Promise<Node[]>;
}

async function run(closer: Closer): Promise<void> {
  await closer();
}
