// Two nodes with a tcp link between them, made anew for each spec and taken away behind it.

import type net from 'node:net';
import { afterEach, beforeEach, expect } from '@jest/globals';
import type { DialOptions, Node } from '../../lib/index.js';
import { within } from '../support/deadline.js';
import { nothingLeft, watchHandles } from '../support/open-handles.js';
import { type Testnet, testnet } from '../support/testnet.js';

const CLOSE_DEADLINE_MS = 5000;

/** Something that a spec opened, with the way to close it. */
type Closer = () => unknown;

export class LinkedNodes {
  private net!: Testnet;
  private closers: Closer[] = [];

  /** Where clients dial. */
  get joiner(): Node {
    return this.net.joiner;
  }

  /** Where servers are bound. */
  get listener(): Node {
    return this.net.listener;
  }

  /** The link is lost, as on a dead network, and joined again soon. */
  cut(): void {
    this.net.cut();
  }

  /** A dialled socket under the type of net's, for libraries whose declarations ask for that class. */
  netDial(address: string, options?: DialOptions): net.Socket {
    return this.joiner.dial(address, options) as unknown as net.Socket;
  }

  /** To be called when the spec is over, the last one first. */
  finally(closer: Closer): void {
    this.closers.push(closer);
  }

  async open(): Promise<void> {
    watchHandles();
    this.net = await testnet('tcp', { closeTimeoutMs: 200, rejoinMinMs: 1, rejoinMaxMs: 20 });
  }

  async close(): Promise<void> {
    const { joiner, listener } = this;
    const failures: unknown[] = [];
    for (const closer of this.closers.splice(0).reverse()) {
      await within('the end of a client or server', run(closer), CLOSE_DEADLINE_MS).catch((error) =>
        failures.push(error),
      );
    }
    await this.net.close();
    expect(failures).toEqual([]);
    for (const node of [joiner, listener]) expect(node.stats().holds).toBe(0);
    await nothingLeft();
  }
}

async function run(closer: Closer): Promise<void> {
  await closer();
}

/** For the specs of a describe block. */
export function linkedNodes(): LinkedNodes {
  const nodes = new LinkedNodes();
  beforeEach(() => nodes.open());
  afterEach(() => nodes.close());
  return nodes;
}
