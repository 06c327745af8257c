// Keeps the async context of a request for its events.
//
// A socket of node:net runs its callbacks in the context of the request that it serves (AsyncLocalStorage, async_hooks).
// Those of a node share a link, and what the link brings runs in the context of the link: an 'error', 'close' or 'timeout'
// that it causes is led back here. What the HTTP parser emits is in the context of the request already.

import { AsyncResource } from 'node:async_hooks';
import type { ClientRequest, IncomingMessage } from 'node:http';

type Emit = (event: string | symbol, ...values: unknown[]) => boolean;

const kContext = Symbol('starlane.context');

interface InContext {
  [kContext]: AsyncResource;
  emit: Emit;
}

/** To be called in the context of whoever makes the request, ahead of its first event. */
export function keepContext(request: ClientRequest): void {
  keep(request, new AsyncResource('STARLANEREQUEST'));
}

function keep(emitter: ClientRequest | IncomingMessage, context: AsyncResource): void {
  const inContext = emitter as unknown as InContext;
  inContext[kContext] = context;
  inContext.emit = emitInContext;
}

/** One function for all: a closure for each request and response costs as much as the scope. */
function emitInContext(this: InContext, event: string | symbol, ...values: unknown[]): boolean {
  const { [kContext]: context } = this;
  if (event === 'response' || event === 'upgrade' || event === 'connect') keep(values[0] as IncomingMessage, context);
  const { emit } = Object.getPrototypeOf(this) as InContext;
  return context.runInAsyncScope(emit, this, event, ...values);
}
