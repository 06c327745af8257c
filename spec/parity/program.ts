// Programs of a process of their own over a carrier, for cases about when a process ends.

import { runProgram } from '../support/built-lib.js';
import type { Child } from '../support/child.js';
import type { CarrierKind } from './carriers.js';

/**
 * `body` has `serverNet`, `clientNet`, `place` to listen at, `to(server)` to dial, and `say(object)`, which sends a line.
 */
export function programOf(kind: CarrierKind, body: string): Child {
  return runProgram(`
    ${kind.preamble}
    const to = (server) => ({ port: server.address().port, host: place.host });
    const { once } = await import('node:events');
    ${body}`);
}
