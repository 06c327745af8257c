// Fresh nodes with the options of another, and some of them changed.

import { EventEmitter } from 'node:events';
import type { NodeOptions } from '../options/options.js';
import type { NodeEvents } from './events.js';

export abstract class NodeFamily extends EventEmitter<NodeEvents> {
  /** A fresh node with the same options, in other envs; none for the namespace without a name. */
  withEnv(...env: string[]): this {
    return this.derive({ env });
  }

  /** A fresh node with the same options that may dial its own services. */
  withLoopBack(): this {
    return this.derive({ loopback: true });
  }

  /** A fresh node with the same options that announces nothing. */
  client(): this {
    return this.derive({ role: 'client', relay: undefined });
  }

  /** A fresh node with the same options that announces, and never dials peers by itself. */
  server(): this {
    return this.derive({ role: 'server' });
  }

  /** A fresh node with the same options that relays by trade. */
  router(): this {
    return this.derive({ role: 'router' });
  }

  /** A fresh node with the same options. */
  new(): this {
    return this.derive({});
  }

  /** A node with these options instead. */
  protected abstract derive(changes: NodeOptions): this;
}
