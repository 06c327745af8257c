// Keeps the async context of a request for its events.
//
// A socket of node:net runs its callbacks in the context of the request that it serves (AsyncLocalStorage, async_hooks).
// Those of a node share a link, and what the link brings runs in the context of the link: an 'error', 'close' or 'timeout'
// that it causes is led back here. What the HTTP parser emits is in the context of the request already.

import { AsyncResource } from 'node:async_hooks';
import type { ClientRequest, IncomingMessage } from 'node:http';

type Emit = (event: string | symbol, ...values: unknown[]) => boolean;

/** To be called in the context of whoever makes the request, ahead of its first event. */
export function keepContext(request: ClientRequest): void {
  const resource = new AsyncResource('STARLANEREQUEST');
  const emit: Emit = request.emit.bind(request);
  request.emit = ((event: string | symbol, ...values: unknown[]): boolean => {
    if (event === 'response' || event === 'upgrade' || event === 'connect')
      bindEmit(values[0] as IncomingMessage, resource);
    return resource.runInAsyncScope(emit, undefined, event, ...values);
  }) as ClientRequest['emit'];
}

function bindEmit(response: IncomingMessage, resource: AsyncResource): void {
  const emit: Emit = response.emit.bind(response);
  response.emit = (event: string | symbol, ...values: unknown[]): boolean =>
    resource.runInAsyncScope(emit, undefined, event, ...values);
}
