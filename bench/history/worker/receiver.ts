// The inboxes of one process, and the handlers that write down that they ran.

import { Readable } from 'node:stream';
import type { Messages } from '../../../lib/messages/index.js';
import { type BeginEvent, type EndEvent, type MessageKind, monotonicMs, type ProcessEvent } from '../events.js';
import type { Journal } from '../journal.js';
import { ITERATED, OWN, POOL, STREAMED } from '../run/shape.js';
import { type Header, headerOf, open, openBytes } from './content.js';
import { COMMAND } from './sender.js';

/** A receiver is done when no handler has run for so long. */
const QUIET_MS = 1_000;

/** What a handler gets, of a message or a call. */
interface Arrived {
  readonly data?: unknown;
  readonly from: string;
  readonly signal: AbortSignal;
}

export class Receiver {
  private runs = 0;
  private running = 0;
  private lastEnd = monotonicMs();

  constructor(
    private readonly post: Messages,
    private readonly journal: Journal<ProcessEvent>,
    private readonly process: string,
  ) {}

  /** Offers the services of the receiver `name`. */
  serve(name: string, inPool: boolean): void {
    this.offer(undefined, 'own');
    for (const service of [OWN(name), ...(inPool ? [POOL] : [])]) this.offer(service, service);
    void this.iterate(this.post.inbox(ITERATED(name)), ITERATED(name));
    this.post
      .inbox(STREAMED(name), { streamed: true })
      .onMessage((message) => this.run('send', STREAMED(name), message, message.data));
  }

  /** Resolves when no handler runs, and none has for a while. */
  async quiet(): Promise<void> {
    while (this.running > 0 || monotonicMs() - this.lastEnd < QUIET_MS) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  private offer(service: string | undefined, label: string): void {
    const inbox = this.post.inbox(service);
    inbox.onMessage((message) => this.run('send', label, message, message.data));
    inbox.onCommand(COMMAND, (input, call) => this.run('call', label, call, input));
  }

  private async iterate(inbox: AsyncIterable<Arrived & { readonly data: unknown }>, service: string): Promise<void> {
    // A message is handled when the loop asks for the next one: this one does, whatever happens to the message.
    for await (const message of inbox) await this.run('send', service, message, message.data, 'returned');
  }

  /** @param onError how the handler ends when something fails in it */
  private async run(
    kind: MessageKind,
    service: string,
    message: Arrived,
    data: unknown,
    onError: EndEvent['how'] = 'threw',
  ): Promise<unknown> {
    if (data instanceof Readable) return await this.runStreamed(kind, service, message, data, onError);
    const { header, damage } = open(data);
    const run = this.begin(kind, service, message, header);
    return await this.finish(run, message, header, onError, async () => damage);
  }

  /** Its content arrives as the handler reads it: which message it is, is in the first bytes. */
  private async runStreamed(
    kind: MessageKind,
    service: string,
    message: Arrived,
    data: Readable,
    onError: EndEvent['how'],
  ): Promise<unknown> {
    const parts: Buffer[] = [];
    const iterator = data[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
    let header: Header | undefined;
    let broken: unknown;
    try {
      while (header === undefined) {
        const { done, value } = await iterator.next();
        if (done) break;
        parts.push(Buffer.from(value));
        header = headerOf(Buffer.concat(parts));
      }
    } catch (error) {
      broken = error;
    }
    const run = this.begin(kind, service, message, header);
    return await this.finish(run, message, header, onError, async () => {
      if (broken !== undefined) throw broken;
      for (let next = await iterator.next(); !next.done; next = await iterator.next())
        parts.push(Buffer.from(next.value));
      return openBytes(Buffer.concat(parts)).damage;
    });
  }

  private begin(kind: MessageKind, service: string, { from }: Arrived, header: Header | undefined): number {
    const run = this.runs++;
    this.running++;
    const event: BeginEvent = { e: 'begin', t: monotonicMs(), run, kind, service };
    const { u, key } = header ?? {};
    this.journal.write({
      ...event,
      ...(u === undefined ? {} : { u }),
      ...(key === undefined ? {} : { key }),
      ...(from === undefined ? {} : { from }),
    });
    return run;
  }

  private async finish(
    run: number,
    { signal }: Arrived,
    header: Header | undefined,
    onError: EndEvent['how'],
    rest: () => Promise<string | undefined>,
  ): Promise<unknown> {
    let how = onError;
    let damage: string | undefined;
    try {
      damage = await rest();
      if (header?.slowMs !== undefined) await slow(header.slowMs, header.slowMs % 2 === 0 ? signal : undefined);
      if (header?.throws) throw new Error('as asked');
      how = 'returned';
    } catch (error) {
      if (onError === 'threw') throw error;
    } finally {
      this.running--;
      this.lastEnd = monotonicMs();
      this.journal.write({ e: 'end', t: this.lastEnd, run, how, ...(damage === undefined ? {} : { damage }) });
    }
    return { u: header?.u, by: this.process };
  }
}

/** Some handlers take note of the signal, as they should, and some do not. */
function slow(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => {
      clearTimeout(timer);
      reject(new Error('the handler took note of the signal'));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    }, ms);
    if (signal?.aborted) onAbort();
    else signal?.addEventListener('abort', onAbort, { once: true });
  });
}
