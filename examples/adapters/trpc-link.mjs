// tRPC 11 by the name of a service, over messages of Starlane: `serveTrpc` serves a router, `starlaneLink` is the terminating link of a client.
// Queries and mutations are calls; subscriptions are answers with several parts. An aborted call or subscription ends at the server as well.

import { TRPCClientError } from '@trpc/client';
import { callTRPCProcedure, getErrorShape, getTRPCErrorFromUnknown, isTrackedEnvelope } from '@trpc/server';
import { observable } from '@trpc/server/observable';
import { messages } from 'starlane/messages';
import { linesOf, valuesOf } from './lines.mjs';

/** The number of the command that runs a procedure. */
const RUN = 1;

/**
 * Offers a router as a service. `createContext` gets the call: `from`, `name` and `tags` are the node that has called. What is left are
 * options of the inbox, such as `allow` and `concurrency`.
 */
export function serveTrpc({ node, service, router, createContext = () => ({}), ...options }) {
  const inbox = messages(node).inbox(service, options);
  inbox.onCommand(RUN, async (operation, call) => {
    const { type, path, input, lastEventId } = operation;
    let ctx;
    const failed = (cause) => {
      const error = getTRPCErrorFromUnknown(cause);
      return { error: getErrorShape({ config: router._def._config, error, type, path, input, ctx }) };
    };
    try {
      ctx = await createContext(call);
      const data = await callTRPCProcedure({
        router,
        path,
        type,
        ctx,
        getRawInput: async () => (lastEventId === undefined ? input : { ...input, lastEventId }),
        signal: call.signal,
        batchIndex: 0,
      });
      if (type !== 'subscription') return { data };
      return linesOf(eventsOf(data, failed));
    } catch (error) {
      return failed(error);
    }
  });
  return inbox;
}

/** Yields the lines of a subscription. When the client goes, the generator of the procedure ends. */
async function* eventsOf(source, failed) {
  try {
    for await (const value of source)
      yield isTrackedEnvelope(value) ? { id: value[0], data: value[1] } : { data: value };
  } catch (error) {
    yield failed(error);
  }
}

/**
 * Returns the last link of a client. `retryQueries`: whether a query of which it is unknown whether it ran is asked again, as it does no harm
 * twice. Default true; mutations are never run twice.
 */
export function starlaneLink({ node, service, timeoutMs, retryQueries = true }) {
  const post = messages(node);
  return () =>
    ({ op }) =>
      observable((observer) => {
        const { type, path, input, signal } = op;
        const aborter = new AbortController();
        const abort = () => aborter.abort();
        signal?.addEventListener('abort', abort, { once: true });
        if (signal?.aborted) abort();
        const isSubscription = type === 'subscription';
        const run = async () => {
          const answer = await post.call(
            service,
            RUN,
            { type, path, input },
            {
              timeoutMs: isSubscription ? Number.POSITIVE_INFINITY : timeoutMs,
              idempotent: type === 'query' && retryQueries,
              signal: aborter.signal,
            },
          );
          if (typeof answer?.pipe !== 'function') return settle(answer);
          aborter.signal.addEventListener('abort', () => answer.destroy(), { once: true });
          observer.next({ result: { type: 'started' } });
          for await (const { id, data, error } of valuesOf(answer)) {
            if (error !== undefined) throw TRPCClientError.from({ error });
            observer.next({
              result: id === undefined ? { type: 'data', data } : { type: 'data', id, data: { id, data } },
            });
          }
          observer.next({ result: { type: 'stopped' } });
          return observer.complete();
        };
        const settle = ({ data, error }) => {
          if (error !== undefined) throw TRPCClientError.from({ error });
          observer.next({ result: { type: 'data', data } });
          observer.complete();
        };
        // The cause of an error has `outcome`: whether the procedure certainly did not run.
        run().catch((error) => observer.error(error instanceof TRPCClientError ? error : TRPCClientError.from(error)));
        return abort;
      });
}
