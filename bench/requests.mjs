// The worker's side of a benchmark: each request is answered with one message, and `exit` ends it.

/**
 * Reports that the run has failed.
 *
 * @param {unknown} error
 */
export function fail(error) {
  process.send?.({ type: 'failed', reason: error instanceof Error ? error.message : String(error) });
}

/** @param {Record<string, (request: any) => Promise<object>>} requests the handlers, by type of request */
export function answerRequests(requests) {
  process.on('message', (/** @type {any} */ request) => {
    // Not a signal: a profile is only written by a process that ends by itself.
    if (request.type === 'exit') process.exit(0);
    requests[request.type](request).then((answer) => process.send?.(answer), fail);
  });
  process.on('disconnect', () => process.exit(1));
  process.on('uncaughtException', fail);
  process.on('unhandledRejection', fail);
}
