// Sends the traffic of one process, and writes down what it sends and what becomes of it.

import type { Node } from '../../../lib/index.js';
import type { MessageError, Messages } from '../../../lib/messages/index.js';
import { monotonicMs, type OutcomeEvent, type ProcessEvent } from '../events.js';
import type { Journal } from '../journal.js';
import { contentOf } from './content.js';
import type { Operation, Traffic } from './traffic.js';

const TICK_MS = 20;
/** So many at once; then it waits for outcomes. */
const MAX_OPEN = 400;
/** Now and then many at once, as programs do: to anybody, or to one. */
const BURST = { share: 0.005, count: 60 };
const PILE = { share: 0.01, count: 30 };
export const COMMAND = 1;

export class Sender {
  /** Messages so far. */
  count = 0;
  handled = 0;
  private open = 0;
  private due = 0;
  private timer: NodeJS.Timeout | undefined;
  private onIdle: (() => void) | undefined;

  constructor(
    private readonly node: Node,
    private readonly post: Messages,
    private readonly traffic: Traffic,
    private readonly journal: Journal<ProcessEvent>,
    private readonly options: {
      readonly process: string;
      readonly rate: number;
      readonly services: ReadonlyMap<string, readonly string[]>;
      /** The service by which a receiver's node is found. */
      readonly serviceOf: (name: string) => string;
      readonly random: () => number;
    },
  ) {}

  start(): void {
    this.timer = setInterval(() => this.tick(), TICK_MS);
  }

  /** Sends no more, and waits for the outcomes. Resolves with how many are missing at the deadline. */
  async finish(deadlineMs: number): Promise<number> {
    clearInterval(this.timer);
    if (this.open > 0) {
      let deadline: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        this.onIdle = resolve;
        deadline = setTimeout(resolve, deadlineMs);
      });
      clearTimeout(deadline);
    }
    return this.open;
  }

  send(operation: Operation): void {
    const { kind, to, form, body, timeoutMs, key, idempotent, abortMs, throws, slowMs } = operation;
    const target = this.resolve(to);
    if (target === undefined) return;
    const u = `${this.options.process}/${this.count++}`;
    const header = { u, length: operation.length, ...pick({ key, throws, slowMs }) };
    const content = contentOf(form, header);
    const aborter = abortMs === undefined ? undefined : new AbortController();
    const sendOptions = { timeoutMs, signal: aborter?.signal, idempotencyKey: key, idempotent };
    const t = monotonicMs();
    const asked = pick({ key, idempotent, abortMs, throws, slowMs });
    this.journal.write({ e: 'send', t, u, kind, to: target.address, at: target.at, body, timeoutMs, ...asked });
    this.open++;
    if (aborter !== undefined) setTimeout(() => aborter.abort(), abortMs);
    const sent =
      kind === 'send'
        ? this.post.send(target.address, content, sendOptions)
        : this.post.call(target.address, COMMAND, content, sendOptions);
    sent.then(
      (answer) =>
        this.settle(operation, { e: 'outcome', t: monotonicMs(), u, outcome: 'handled', ...answerOf(answer) }),
      (error) => this.settle(operation, { e: 'outcome', t: monotonicMs(), u, ...failureOf(error) }),
    );
  }

  private tick(): void {
    this.due += (this.options.rate * TICK_MS) / 1000;
    if (this.options.random() < BURST.share) this.due += BURST.count;
    if (this.options.random() < PILE.share && this.open + PILE.count <= MAX_OPEN) {
      for (const operation of this.traffic.pile(PILE.count)) this.send(operation);
    }
    this.due = Math.min(this.due, MAX_OPEN - this.open);
    for (; this.due >= 1; this.due--) this.send(this.traffic.next());
  }

  private settle(operation: Operation, event: OutcomeEvent): void {
    this.journal.write(event);
    this.open--;
    if (event.outcome === 'handled') this.handled++;
    // What a key is for: nothing is known of the message, and it is sent again.
    if (event.outcome === 'unknown' && operation.key !== undefined) this.traffic.remember(operation);
    if (this.open === 0) this.onIdle?.();
  }

  private resolve(to: string): { readonly address: string; readonly at: readonly string[] } | undefined {
    if (!to.startsWith('@')) return { address: to, at: this.options.services.get(to) ?? [] };
    const name = to.slice(1);
    const found = this.node.services().find(({ service }) => service === this.options.serviceOf(name));
    return found === undefined ? undefined : { address: `@${found.nodeId}`, at: [name] };
  }
}

function answerOf(answer: unknown): Partial<OutcomeEvent> {
  const { nodeId, by } = (answer ?? {}) as { nodeId?: string; by?: string };
  return pick({ nodeId, by });
}

function failureOf(error: MessageError): Pick<OutcomeEvent, 'outcome' | 'code' | 'why'> {
  const cause = error.cause instanceof Error ? `; ${error.cause.message}` : '';
  return {
    outcome: error.outcome ?? 'none',
    code: error.code ?? error.name,
    why: `${error.message}${cause}`.slice(0, 200),
  };
}

/** Without what is undefined. */
function pick<Fields extends object>(fields: Fields): Partial<Fields> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Partial<Fields>;
}
