// What is behind the messages of a node: its targets, its inboxes, and what is on its way.

import { randomFillSync } from 'node:crypto';
import type { NodeId } from '../address.js';
import { netError, starlaneError } from '../errors.js';
import type { Node } from '../node/node.js';
import type { Socket } from '../socket/socket.js';
import { NextTurn } from '../util/next-turn.js';
import { MAX_TIMEOUT_MS, type Timers } from '../util/timers.js';
import { FrameCircuit } from './circuit.js';
import { contentOf, NOTHING, payloadOf, readValue } from './content.js';
import { errorOfOutcome } from './failure.js';
import { Inbox } from './inbox.js';
import {
  type InboxOptions,
  type ResolvedMessagesOptions,
  resolveInboxOptions,
  type SendOptions,
  termsOf,
} from './options.js';
import { type MessageError, messageError, notHandled, outcomeUnknown } from './outcome.js';
import { MESSAGE_PORT } from './ports.js';
import { InboxCore } from './receive/inbox-core.js';
import { Reception } from './receive/reception.js';
import { type ApartHost, Fetch, sendContent } from './send/apart.js';
import { dialReceiver } from './send/dialling.js';
import { parseTarget, type Receiver, receiversOf } from './send/directory.js';
import type { Lane, LaneDial } from './send/lane.js';
import { Outgoing, type OutgoingOwner, OutgoingState, type OutgoingTerms } from './send/outgoing.js';
import { Target, type TargetHost } from './send/target.js';
import { Kind, OutcomeCode, type OutcomeFields } from './wire/frames.js';
import { CircuitKind, encodePreamble, RUN_BYTES, type SessionName } from './wire/preamble.js';

/** Where a message was handled. */
export interface Receipt {
  /** The node whose handler has finished. */
  readonly nodeId: NodeId;
  /** The id that the handler has seen. */
  readonly id: string;
}

/** What is counted since the start, and what there is now. */
export interface MessagesStats {
  /** Messages and calls of this node by their outcomes; `failed`: handled, with an error. */
  readonly sent: { handled: number; failed: number; notHandled: number; unknown: number };
  /** Those that wait for their outcomes. */
  readonly pending: number;
  /** Their bytes, without streams. */
  readonly pendingBytes: number;
  /** Circuits to receivers, with those that are being dialled. */
  readonly lanes: number;
  /** Messages and calls that have come to the inboxes that are open, by what became of them; `running`: whose handlers run. */
  readonly received: { total: number; handled: number; failed: number; refused: number; running: number };
  /** Sessions of senders, whose outcomes are remembered. */
  readonly sessions: number;
}

/** Targets that are remembered although nothing is on its way to them. */
const MAX_TARGETS = 1_024;

export class Post implements OutgoingOwner, TargetHost, ApartHost {
  readonly resumeMs: number;
  readonly idleMs: number;
  private readonly targets = new Map<string, Target>();
  private readonly inboxes = new Map<string, InboxCore>();
  private readonly reception = new Reception();
  private readonly run = randomFillSync(Buffer.alloc(RUN_BYTES)).toString('latin1');
  private epoch = 0;
  private order = 0;
  private pending = 0;
  private pendingBytes = 0;
  private isHolding = false;
  private readonly letGo: NextTurn;
  private readonly counts = { handled: 0, failed: 0, notHandled: 0, unknown: 0 };
  private closing: Promise<void> | undefined;
  private isWatching = false;
  private whenIdle: (() => void) | undefined;

  constructor(
    private readonly node: Node,
    private readonly options: ResolvedMessagesOptions,
    readonly timers: Timers,
    readonly onWarning: (error: Error) => void,
    private readonly onClosed: () => void = () => {},
  ) {
    this.resumeMs = options.resumeMs;
    this.idleMs = options.idleMs;
    this.letGo = new NextTurn(this.timers.clock, () => this.updateHold());
    const { circuits } = node.queries.sources;
    circuits.beforeClose(() => void this.close());
    circuits.drain.beforeBegin(() => this.drain());
  }

  // --- sending ---

  send(target: string, data: unknown, command: number | undefined, options: SendOptions | undefined): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const terms = termsOf(options);
      if (command !== undefined && !(command >= 0 && command <= 0xffff_ffff && Number.isInteger(command))) {
        throw starlaneError('ERR_STARLANE_ARGUMENT', 'the number of a command has 32 bits');
      }
      const content = contentOf(data);
      const to = this.targetOf(target);
      const fault = this.faultBefore(target, content.bytes, terms);
      if (fault !== undefined) throw fault;
      const out = new Outgoing(++this.order, this, target, command, content, terms, resolve, reject);
      this.pending++;
      this.pendingBytes += Math.max(0, content.bytes);
      if (!this.isHolding) this.updateHold();
      to.send(out);
    });
  }

  private faultBefore(target: string, bytes: number, { signal }: OutgoingTerms): MessageError | undefined {
    if (this.closing !== undefined) return notHandled(target, starlaneError('ERR_STARLANE_CLOSED'));
    if (signal?.aborted === true) return notHandled(target, signal.reason);
    const { maxPending, maxPendingBytes } = this.options;
    if (this.pending >= maxPending || (this.pending > 0 && this.pendingBytes + bytes > maxPendingBytes)) {
      this.counts.notHandled++;
      return messageError('ERR_STARLANE_QUEUE_FULL', 'not-handled', `${this.pending} messages wait for their outcomes`);
    }
    return undefined;
  }

  private targetOf(name: string): Target {
    let target = this.targets.get(name);
    if (target !== undefined) return target;
    const parsed = parseTarget(name);
    if (this.targets.size >= MAX_TARGETS) {
      for (const [other, { isIdle }] of this.targets) if (isIdle) this.targets.delete(other);
    }
    target = new Target(this, name, 'nodeId' in parsed);
    this.targets.set(name, target);
    this.watch();
    return target;
  }

  /** Follows the directory. */
  private watch(): void {
    if (this.isWatching) return;
    this.isWatching = true;
    const onChange = ({ port }: { port: number }): void => {
      if (port === MESSAGE_PORT) for (const target of this.targets.values()) target.onChanged();
    };
    this.node.serviceMap().on('add', onChange).on('remove', onChange);
    this.node.on('link', () => {
      for (const target of this.targets.values()) target.onChanged();
    });
  }

  receivers({ name, isNode }: Target): readonly Receiver[] {
    if (isNode) return [{ nodeId: name.slice(1), weight: 1, service: undefined }];
    return receiversOf(this.node, name);
  }

  dial(lane: Lane, preamble: Buffer, timeoutMs: number, waits: boolean): LaneDial {
    const { receiver } = lane;
    const socket = dialReceiver(this.node, receiver, timeoutMs, waits);
    let isOver = false;
    socket.write(preamble);
    socket.once('connect', () => {
      if (isOver) return;
      isOver = true;
      lane.onCircuit(new FrameCircuit(socket, lane));
    });
    const fail = (error?: Error): void => {
      if (isOver) return;
      isOver = true;
      lane.onDialFailed(error ?? netError('ECONNRESET', 'connect', { address: `@${receiver.nodeId}` }));
    };
    socket.on('error', fail);
    socket.once('close', () => fail());
    return {
      cancel: () => {
        isOver = true;
        socket.destroy();
      },
    };
  }

  newSession(): SessionName {
    return { run: this.run, epoch: ++this.epoch >>> 0 };
  }

  // --- outcomes ---

  onOutcome(target: Target, lane: Lane, out: Outgoing, outcome: OutcomeFields, bytes: Buffer): void {
    if (out.isSettled) return;
    const { code, kind, from, to } = outcome;
    if (code === OutcomeCode.LEAVING && !out.isSourceUsed) {
      target.onReturned(lane, out);
      return;
    }
    const isReceipt = code === OutcomeCode.NO_ANSWER && out.command === undefined;
    if (code !== OutcomeCode.HANDLED && !isReceipt) {
      out.fail(errorOfOutcome(code, bytes.toString('utf8', from, to), target.name, out.command !== undefined));
      return;
    }
    if (out.command === undefined) out.succeed(this.receipt(lane, out));
    else if (outcome.isApart) this.fetch(lane, out, kind);
    else this.answer(out, kind, bytes, from, to);
  }

  private answer(out: Outgoing, kind: number, bytes: Buffer, from: number, to: number): void {
    let value: unknown;
    try {
      value = kind === Kind.NONE ? undefined : readValue(kind, payloadOf(kind, bytes, from, to));
    } catch (error) {
      out.fail(messageError('ERR_STARLANE_MESSAGE_PROTOCOL', 'handled', 'the answer is no JSON', error));
      return;
    }
    out.succeed(value);
  }

  private receipt({ nodeId, name: { run, epoch } }: Lane, { number }: Outgoing): Receipt {
    return { nodeId, id: `${Buffer.from(run, 'latin1').toString('base64url')}.${epoch}.${number}` };
  }

  onWanted(lane: Lane, out: Outgoing): void {
    sendContent(this, lane, out);
  }

  dialContent({ receiver }: Lane, timeoutMs: number): Socket {
    return dialReceiver(this.node, receiver, Math.min(timeoutMs, MAX_TIMEOUT_MS), true);
  }

  get maxAnswerBytes(): number {
    return this.options.maxAnswerBytes;
  }

  private fetch(lane: Lane, out: Outgoing, kind: number): void {
    out.isHandled = true;
    new Fetch(this, lane, out, kind, {
      onAnswer: (bytes) => this.answer(out, kind, bytes, 0, bytes.length),
      onStream: (stream) => out.succeed(stream),
      onTooLong: () =>
        out.fail(
          messageError('ERR_STARLANE_MESSAGE_SIZE', 'handled', `an answer of more than ${this.maxAnswerBytes} bytes`),
        ),
    });
  }

  onLate(out: Outgoing): void {
    if (out.isHandled) {
      const late = netError('ETIMEDOUT', 'call', { address: out.target });
      out.fail(messageError('ERR_STARLANE_ANSWER_LOST', 'handled', out.target, late));
      return;
    }
    const cause = netError(
      'ETIMEDOUT',
      out.command === undefined ? 'send' : 'call',
      { address: out.target },
      out.failure,
    );
    const isUnknown = out.state === OutgoingState.WRITTEN;
    this.giveUp(
      out,
      out.command === undefined
        ? (isUnknown ? outcomeUnknown : notHandled)(out.target, cause)
        : messageError('ETIMEDOUT', isUnknown ? 'unknown' : 'not-handled', out.target, cause),
    );
  }

  onAborted(out: Outgoing, reason: unknown): void {
    if (out.isHandled) {
      out.fail(messageError('ERR_STARLANE_ANSWER_LOST', 'handled', out.target, reason));
      return;
    }
    this.giveUp(out, (out.state === OutgoingState.WRITTEN ? outcomeUnknown : notHandled)(out.target, reason));
  }

  private giveUp(out: Outgoing, error: MessageError): void {
    if (out.isSettled) return;
    const { place } = out;
    out.fail(error);
    place?.onGivenUp(out);
  }

  onSettled(out: Outgoing, error: Error | undefined): void {
    this.pending--;
    this.pendingBytes -= Math.max(0, out.content.bytes);
    const { counts } = this;
    const outcome = (error as MessageError | undefined)?.outcome;
    if (error === undefined) counts.handled++;
    else if (outcome === 'handled') counts.failed++;
    else if (outcome === 'unknown') counts.unknown++;
    else counts.notHandled++;
    out.content = NOTHING;
    if (this.pending > 0) return;
    // A program that sends one message after the other has none for a moment.
    this.letGo.request();
    this.whenIdle?.();
  }

  /** A message that waits holds the process open, and an idle lane does not. */
  private updateHold(): void {
    const isNeeded = this.pending > 0;
    if (isNeeded === this.isHolding) return;
    this.isHolding = isNeeded;
    const { processRefs } = this.node.queries.sources.circuits;
    if (isNeeded) processRefs.ref();
    else processRefs.unref();
  }

  // --- streaming calls ---

  openCall(target: string, header: Buffer, options: SendOptions | undefined): Promise<Socket> {
    const { timeoutMs, signal } = termsOf(options);
    const parsed = parseTarget(target);
    const preamble = encodePreamble({ kind: CircuitKind.CALL, header });
    const limitMs = Math.min(timeoutMs, 0x7fff_ffff);
    return new Promise((resolve, reject) => {
      if (this.closing !== undefined) throw notHandled(target, starlaneError('ERR_STARLANE_CLOSED'));
      if (signal?.aborted === true) throw notHandled(target, signal.reason);
      const known = 'nodeId' in parsed ? undefined : receiversOf(this.node, parsed.service);
      const only = 'nodeId' in parsed ? parsed.nodeId : known?.find(({ service }) => service === undefined)?.nodeId;
      const socket =
        only !== undefined
          ? dialReceiver(this.node, { nodeId: only, weight: 1, service: undefined }, limitMs, true)
          : this.node.dial(`${target}:${MESSAGE_PORT}`, { timeoutMs: limitMs });
      socket.ref();
      socket.write(preamble);
      const onError = (error: Error): void => {
        signal?.removeEventListener('abort', onAbort);
        reject(notHandled(target, error));
      };
      const onAbort = (): void => {
        socket.removeListener('error', onError);
        socket.on('error', () => {});
        socket.destroy();
        reject(notHandled(target, signal?.reason));
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      socket.once('error', onError);
      socket.once('connect', () => {
        signal?.removeEventListener('abort', onAbort);
        socket.removeListener('error', onError);
        resolve(socket);
      });
    });
  }

  // --- inboxes ---

  inbox(service: string, options: InboxOptions | undefined): Inbox {
    if (this.closing !== undefined) throw starlaneError('ERR_STARLANE_CLOSED');
    if (this.inboxes.has(service)) throw netError('EADDRINUSE', 'bind', { address: service, port: MESSAGE_PORT });
    const resolved = resolveInboxOptions(options);
    const onOver = (): void => {
      if (this.inboxes.get(service) === core) this.inboxes.delete(service);
    };
    const core = new InboxCore(this.node, this.timers, this.reception, service, resolved, this.onWarning, onOver);
    this.inboxes.set(service, core);
    return new Inbox(core, this.node.queries.sources.options.closeTimeoutMs);
  }

  // --- the end ---

  /** The node takes no more circuits of others, and waits until those that there are have ended. */
  private drain(): void {
    for (const core of this.inboxes.values()) core.leave();
  }

  stats(): MessagesStats {
    let lanes = 0;
    for (const target of this.targets.values()) lanes += target.laneCount;
    const received = { total: 0, handled: 0, failed: 0, refused: 0, running: 0 };
    for (const { counters, active } of this.inboxes.values()) {
      received.total += counters.received;
      received.handled += counters.handled;
      received.failed += counters.failed;
      received.refused += counters.refused;
      received.running += active;
    }
    const { pending, pendingBytes } = this;
    return { sent: { ...this.counts }, pending, pendingBytes, lanes, received, sessions: this.reception.size };
  }

  close(): Promise<void> {
    this.closing ??= this.end();
    return this.closing;
  }

  private async end(): Promise<void> {
    const { closeTimeoutMs } = this.node.queries.sources.options;
    const error = starlaneError('ERR_STARLANE_CLOSED');
    const inboxes = [...this.inboxes.values()].map((core) => core.close(closeTimeoutMs));
    for (const target of this.targets.values()) target.close(error);
    await this.idle(closeTimeoutMs);
    for (const target of this.targets.values()) target.end(error);
    await Promise.all(inboxes);
    this.onClosed();
  }

  /** Waits until nothing is pending. */
  private idle(timeoutMs: number): Promise<void> {
    if (this.pending === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = this.timers.schedule(timeoutMs, { onDeadline: () => resolve() });
      this.whenIdle = () => {
        this.timers.cancel(timer);
        resolve();
      };
    });
  }
}
