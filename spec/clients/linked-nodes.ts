// Two nodes with a tcp link between them, made for each spec and closed after it.

import type net from 'node:net';
import { afterEach, beforeEach } from '@jest/globals';
import type { DialOptions, Node } from '../../lib/index.js';
import { type Testnet, testnet } from '../support/testnet.js';
import { SpecNodes } from './spec-nodes.js';

export class LinkedNodes extends SpecNodes {
  private net!: Testnet;

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

  protected async openNodes(): Promise<void> {
    this.net = await testnet('tcp', { closeTimeoutMs: 200, rejoinMinMs: 1, rejoinMaxMs: 20 });
  }

  protected async closeNodes(): Promise<Node[]> {
    await this.net.close();
    return [this.joiner, this.listener];
  }
}

/** For the specs of a describe block. */
export function linkedNodes(): LinkedNodes {
  const nodes = new LinkedNodes();
  beforeEach(() => nodes.open());
  afterEach(() => nodes.close());
  return nodes;
}
