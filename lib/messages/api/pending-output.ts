// The output of a command of which it is not known yet whether it is one value or a stream: it can be awaited, and iterated.

import type { ApiCaller, CallOptions } from './caller.js';

export class PendingOutput implements PromiseLike<unknown>, AsyncIterable<unknown> {
  /** One output, or what is iterated. */
  private readonly started: Promise<{ readonly value: unknown } | { readonly items: AsyncGenerator<unknown> }>;

  constructor(caller: ApiCaller, command: string, input: unknown, options: CallOptions | undefined) {
    this.started = (async () => {
      const terms = caller.terms(options);
      const { command: resolved } = await caller.resolve(command, terms);
      if (resolved.streamsOutput) return { items: caller.many(command, input, terms) };
      return { value: await caller.once(command, input, terms) };
    })();
    // It fails where it is awaited or iterated.
    this.started.catch(() => {});
  }

  // biome-ignore lint/suspicious/noThenProperty: it is awaited, as the promises of other clients are.
  then<A = unknown, B = never>(
    onFulfilled?: ((value: unknown) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.started
      .then((started) => ('items' in started ? started.items : started.value))
      .then(onFulfilled, onRejected);
  }

  catch<B = never>(onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null): Promise<unknown | B> {
    return this.then(undefined, onRejected);
  }

  finally(onFinally?: (() => void) | null): Promise<unknown> {
    return this.then().finally(onFinally);
  }

  /** Yields the items; of one output, that one. */
  async *[Symbol.asyncIterator](): AsyncGenerator<unknown, void, undefined> {
    const started = await this.started;
    if ('items' in started) yield* started.items;
    else yield started.value;
  }
}
