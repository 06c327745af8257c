// The worker's side of a benchmark: each request is answered with one message, and `exit` ends it.

/** @param {Record<string, (request: any) => Promise<object>>} requests the handlers, by type of request */
export function answerRequests(requests) {
  /** @param {unknown} error */
  const fail = (error) => process.send?.({ type: 'failed', reason: `${error}` });
  process.on('message', (/** @type {any} */ request) => {
    if (request.type === 'exit') process.exit(0);
    requests[request.type](request).then((answer) => process.send?.(answer), fail);
  });
  process.on('disconnect', () => process.exit(1));
  process.on('uncaughtException', fail);
}
