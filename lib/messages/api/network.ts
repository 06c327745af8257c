// The network as clients of APIs see it: a node of this process, or in the command one of another process.

import type { Selector } from '../../mesh/directory/selector.js';
import type { ServiceInfo } from '../../mesh/directory/service.js';
import type { AskedCommand, DialledCircuit } from './call/ask.js';

export interface UnaryOptions {
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
  readonly idempotent: boolean;
  readonly idempotencyKey: string | undefined;
}

export interface ApiNetwork {
  /** Returns the known instances of a service. */
  instances(service: string): readonly ServiceInfo[];
  /**
   * Makes a call without streams to any instance; undefined where every call has a circuit of its own. The input has been checked, the output is
   * checked later.
   */
  readonly call:
    | ((service: string, command: AskedCommand, input: unknown, options: UnaryOptions) => Promise<unknown>)
    | undefined;
  /** Opens a circuit. `selector`: which instance; undefined for any. */
  dial(
    service: string,
    options: { readonly timeoutMs: number; readonly signal: AbortSignal; readonly selector: Selector | undefined },
  ): DialledCircuit;
}
