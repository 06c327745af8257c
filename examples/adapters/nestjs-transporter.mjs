// A transporter for NestJS: microservices by the name of a service, over messages of Starlane. StarlaneServer is the strategy of a
// microservice, StarlaneClient is a client. `send` answers with as many values as the handler's observable has, and unsubscribing ends it
// at the server; `emit` resolves when the handlers of the event have been called.

import { BaseRpcContext, ClientProxy, Server } from '@nestjs/microservices';
import { isObservable } from 'rxjs';
import { messages } from 'starlane/messages';
import { linesOf, valuesOf } from './lines.mjs';

/** The number of the command that runs a handler. */
const SEND = 1;
/** Values that wait for a client that reads slowly. Beyond that, its answer fails. */
const MAX_WAITING = 10_000;

/** What a handler learns about a call or an event: `@Ctx() context`. */
export class StarlaneContext extends BaseRpcContext {
  /** The call or message: `from`, `name`, `tags`, `signal` and more. */
  get call() {
    return this.args[0];
  }
}

/** `NestFactory.createMicroservice(App, { strategy: new StarlaneServer({ node, service: 'orders' }) })` */
export class StarlaneServer extends Server {
  constructor({ node, service, ...inbox }) {
    super();
    this.transportId = Symbol.for('starlane');
    Object.assign(this, { node, service, options: inbox });
    this.initializeSerializer(inbox);
    this.initializeDeserializer(inbox);
  }

  listen(callback) {
    this.inbox = messages(this.node).inbox(this.service, this.options);
    this.inbox.onMessage((message) => {
      const { pattern, data } = message.data;
      return this.handleEvent(pattern, { pattern, data }, new StarlaneContext([message]));
    });
    this.inbox.onCommand(SEND, (packet, call) => this.run(packet, call));
    callback();
  }

  async run({ pattern, data }, call) {
    const handler = this.getHandlerByPattern(pattern);
    if (handler === null || handler.isEventHandler)
      return { error: `There is no matching message handler for ${pattern}` };
    try {
      const result = await handler(data, new StarlaneContext([call]));
      return isObservable(result) ? linesOf(valuesOfObservable(result, call.signal)) : { value: result };
    } catch (error) {
      return { error: plain(error) };
    }
  }

  close() {
    return this.inbox?.close();
  }

  on() {}

  unwrap() {
    return this.inbox;
  }
}

/** Yields `{ value }` for each value, and `{ error }` at the end if there is one. */
async function* valuesOfObservable(observable, signal) {
  const waiting = [];
  let isOver = false;
  let wake = () => {};
  const put = (line, isLast) => {
    waiting.push(line);
    isOver ||= isLast;
    if (waiting.length > MAX_WAITING) throw new Error('the client is too slow');
    wake();
  };
  const end = () => {
    isOver = true;
    wake();
  };
  const subscription = observable.subscribe({
    next: (value) => put({ value }, false),
    error: (error) => put({ error: plain(error) }, true),
    complete: end,
  });
  signal.addEventListener('abort', end, { once: true });
  try {
    for (;;) {
      while (waiting.length > 0) yield waiting.shift();
      if (isOver) return;
      await new Promise((resolve) => {
        wake = resolve;
      });
    }
  } finally {
    // Also when the client has gone.
    subscription.unsubscribe();
  }
}

/** What an RpcException holds, or the message. */
function plain(error) {
  return typeof error?.getError === 'function' ? error.getError() : (error?.message ?? error);
}

/** `new StarlaneClient({ node, service: 'orders' })`. `call`: options of `messages(node).call`, such as `timeoutMs` and `idempotent`. */
export class StarlaneClient extends ClientProxy {
  constructor({ node, service, call = {} }) {
    super();
    Object.assign(this, { post: messages(node), service, options: call });
  }

  /** There is nothing to connect: a circuit is made with the first call. */
  async connect() {}

  close() {}

  unwrap() {
    return this.post;
  }

  publish({ pattern, data }, callback) {
    const aborter = new AbortController();
    const packet = { pattern: this.normalizePattern(pattern), data };
    this.ask(packet, aborter.signal, callback).catch((error) => {
      if (!aborter.signal.aborted) callback({ err: error, isDisposed: true });
    });
    return () => aborter.abort();
  }

  async ask(packet, signal, callback) {
    const answer = await this.post.call(this.service, SEND, packet, { ...this.options, signal });
    const isStream = typeof answer?.pipe === 'function';
    if (!isStream)
      return callback(
        'error' in answer ? { err: answer.error, isDisposed: true } : { response: answer.value, isDisposed: true },
      );
    signal.addEventListener('abort', () => answer.destroy(), { once: true });
    for await (const { value, error } of valuesOf(answer)) {
      if (error !== undefined) return callback({ err: error, isDisposed: true });
      callback({ response: value });
    }
    return callback({ isDisposed: true });
  }

  async dispatchEvent({ pattern, data }) {
    await this.post.send(this.service, { pattern: this.normalizePattern(pattern), data }, this.options);
  }
}
