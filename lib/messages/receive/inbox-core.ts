// What is behind an inbox: its server, its sessions, whose turn it is, and the handlers.

import { AsyncResource } from 'node:async_hooks';
import type { Readable } from 'node:stream';
import { netError, starlaneError } from '../../errors.js';
import type { Node } from '../../node/node.js';
import type { Server } from '../../socket/server.js';
import type { Socket } from '../../socket/socket.js';
import { Deadline } from '../../util/deadline.js';
import type { Timers } from '../../util/timers.js';
import { FrameCircuit } from '../circuit.js';
import { contentOf, payloadOf, readValue } from '../content.js';
import { failureOf } from '../failure.js';
import { Call, type CommandHandler, Message, type MessageHandler } from '../message.js';
import { isFrom } from '../numbers.js';
import type { ResolvedInboxOptions } from '../options.js';
import { MESSAGE_PORT } from '../ports.js';
import { FrameWriter, Kind, MalformedFrame, OutcomeCode, Welcome } from '../wire/frames.js';
import { CircuitKind, type Preamble, type SessionName } from '../wire/preamble.js';
import { Answers } from './answers.js';
import { Bodies } from './bodies.js';
import { Entrance, type EntranceHost } from './entrance.js';
import { type Answer, type Incoming, IncomingState, refusal, type Sender } from './incoming.js';
import { IncomingList } from './incoming-list.js';
import { LaneEnd, type LaneEndHost } from './lane-end.js';
import { InboxQueue, type QueueHost, type Turnstile } from './queue.js';
import type { Reception } from './reception.js';
import { Remembered } from './remembered.js';
import type { ReceiverSession } from './session.js';

/** How often messages that wait are looked through for those whose time is over. */
const SWEEP_MS = 1_000;

/** Gets circuits of streaming calls. `header`: what the caller has sent with the preamble. */
export type CallCircuitHandler = (socket: Socket, header: Buffer, sender: Sender) => void;

interface Command extends Turnstile {
  readonly handler: CommandHandler;
}

/** A message in the hands of a loop. */
export interface Taken {
  readonly message: Message;
  readonly done: () => void;
}

const HANDLED = refusal(OutcomeCode.HANDLED);

export class InboxCore implements LaneEndHost, QueueHost, EntranceHost {
  readonly server: Server;
  private readonly queue: InboxQueue;
  private readonly entrance = new Entrance(this);
  private readonly sessions = new Map<string, LaneEnd>();
  private readonly bodies: Bodies;
  private readonly answers: Answers;
  private readonly remembered = new Remembered();
  private readonly commands = new Map<number, Command>();
  private readonly scope = new AsyncResource('STARLANEINBOX');
  private readonly sweep: Deadline;
  private handler: MessageHandler | undefined;
  private onCallCircuit: CallCircuitHandler | undefined;
  private takers: Array<(taken: Taken | undefined) => void> = [];
  /** Messages whose content has come after the loop had taken another one. */
  private arrived: Array<{ readonly incoming: Incoming; readonly data: unknown }> = [];
  private wasIterated = false;
  private isLeaving = false;
  private isClosed = false;
  readonly hasProofs: boolean;
  readonly now = (): number => this.timers.now();
  /** Counts since the start. */
  readonly counters = { received: 0, handled: 0, failed: 0, refused: 0 };

  constructor(
    node: Node,
    readonly timers: Timers,
    private readonly reception: Reception,
    readonly service: string,
    private readonly options: ResolvedInboxOptions,
    private readonly onWarning: (error: Error) => void,
    private readonly onOver: () => void,
  ) {
    this.queue = new InboxQueue(this, options.concurrency);
    const { hasSecret, members } = node.queries.sources;
    this.hasProofs = hasSecret || members !== undefined;
    this.bodies = new Bodies(timers, reception.bodies);
    this.answers = new Answers(timers);
    this.sweep = new Deadline(timers, () => this.refuseLate());
    this.server = node.bind(`${service}:${MESSAGE_PORT}`, options.bind, (socket) => this.accept(socket));
  }

  private accept(socket: Socket): void {
    // A bare port also reaches the first name that is bound to it, which is not what the sender means.
    if (this.service !== '' && socket.peer?.service === '') socket.destroy();
    else this.entrance.accept(socket);
  }

  get active(): number {
    return this.queue.active;
  }

  // --- handlers ---

  setHandler(handler: MessageHandler): void {
    if (this.handler !== undefined) throw starlaneError('ERR_STARLANE_ARGUMENT', 'the inbox has a handler of messages');
    this.handler = handler;
    for (let one = this.nextArrived(); one !== undefined; one = this.nextArrived())
      this.runMessage(one.incoming, one.data);
    this.queue.pump();
  }

  setCommand(number: number, handler: CommandHandler, concurrency: number): void {
    if (this.commands.has(number)) throw starlaneError('ERR_STARLANE_ARGUMENT', `command ${number} has a handler`);
    this.commands.set(number, { handler, concurrency, running: 0, waiting: new IncomingList() });
  }

  setCallCircuitHandler(handler: CallCircuitHandler): void {
    this.onCallCircuit = handler;
  }

  get maxConcurrency(): number {
    return this.options.concurrency;
  }

  /**
   * Calls `taker` once with the next message; with undefined when the inbox is closed. Returns what takes the request back, as long as
   * `taker` was not called.
   */
  next(taker: (taken: Taken | undefined) => void): () => void {
    this.wasIterated = true;
    const isOver = (): void => {};
    if (this.isClosed) {
      taker(undefined);
      return isOver;
    }
    const first = this.nextArrived();
    if (first !== undefined) {
      taker(this.taken(first.incoming, first.data));
      return isOver;
    }
    this.takers.push(taker);
    this.queue.pump();
    return () => {
      const at = this.takers.indexOf(taker);
      if (at >= 0) this.takers.splice(at, 1);
    };
  }

  /** Returns the next one that has arrived, and that is still waited for. */
  private nextArrived(): { readonly incoming: Incoming; readonly data: unknown } | undefined {
    for (let first = this.arrived.shift(); first !== undefined; first = this.arrived.shift()) {
      const { incoming } = first;
      if (incoming.state !== IncomingState.RUNNING) continue;
      if (this.now() < incoming.deadlineMs) return first;
      this.finish(incoming, refusal(OutcomeCode.LATE));
    }
    return undefined;
  }

  // --- the queue ---

  command(number: number): Command | undefined {
    return this.commands.get(number);
  }

  turnstiles(): Iterable<Turnstile> {
    return this.commands.values();
  }

  get takesMessages(): 'now' | 'later' | 'never' {
    if (this.handler !== undefined || this.takers.length > 0) return 'now';
    // A program that only answers commands has no messages.
    return this.wasIterated || this.commands.size === 0 ? 'later' : 'never';
  }

  begin(incoming: Incoming): void {
    if (incoming.key !== undefined) {
      const before = this.remembered.begin(incoming);
      if (before === 'joined') return;
      if (before !== undefined) {
        this.end(incoming, before);
        return;
      }
    }
    if (!incoming.isApart) this.read(incoming);
    else {
      this.bodies.want(
        incoming,
        this.isStreamed(incoming),
        (content) => this.onContent(incoming, content),
        (code) => this.finish(incoming, refusal(code)),
      );
    }
  }

  private isStreamed({ kind }: Incoming): boolean {
    return kind === Kind.STREAM || this.options.isStreamed;
  }

  private onContent(incoming: Incoming, content: Buffer | Readable): void {
    if (!Buffer.isBuffer(content)) {
      // What its sender does not go on with must not keep the handler, whatever that listens to.
      const late = new Deadline(this.timers, () => incoming.abort(netError('ETIMEDOUT', 'message')));
      if (incoming.deadlineMs !== Number.POSITIVE_INFINITY) late.set(incoming.remainingMs);
      incoming.onAborted = (reason) => content.destroy(reason);
      incoming.release = () => {
        late.clear();
        content.destroy();
      };
      this.run(incoming, content);
      return;
    }
    incoming.payload = payloadOf(incoming.kind, content, 0, content.length);
    this.read(incoming);
  }

  private read(incoming: Incoming): void {
    let value: unknown;
    try {
      value = readValue(incoming.kind, incoming.payload);
    } catch {
      this.finish(incoming, refusal(OutcomeCode.CONTENT));
      return;
    }
    incoming.payload = undefined;
    this.run(incoming, value);
  }

  private run(incoming: Incoming, value: unknown): void {
    const { command } = incoming;
    if (command === undefined) this.runMessage(incoming, value);
    else this.runCommand(incoming, command, value);
  }

  private runMessage(incoming: Incoming, data: unknown): void {
    const { handler } = this;
    if (handler === undefined) {
      const taker = this.takers.shift();
      if (taker === undefined) this.arrived.push({ incoming, data });
      else taker(this.taken(incoming, data));
      return;
    }
    try {
      const message = new Message(incoming, this.service, data);
      const result = this.scope.runInAsyncScope(handler, undefined, message);
      if (isPromise(result)) {
        result.then(
          () => this.finish(incoming, HANDLED),
          (error) => this.finish(incoming, failureOf(error)),
        );
      } else this.finish(incoming, HANDLED);
    } catch (error) {
      this.finish(incoming, failureOf(error));
    }
  }

  private taken(incoming: Incoming, data: unknown): Taken {
    return { message: new Message(incoming, this.service, data), done: () => this.finish(incoming, HANDLED) };
  }

  private runCommand(incoming: Incoming, number: number, input: unknown): void {
    const { handler } = this.commands.get(number) as Command;
    try {
      const result = this.scope.runInAsyncScope(handler, undefined, input, new Call(incoming, this.service, number));
      if (isPromise(result)) {
        result.then(
          (output) => this.answer(incoming, output),
          (error) => this.finish(incoming, failureOf(error)),
        );
      } else this.answer(incoming, result);
    } catch (error) {
      this.finish(incoming, failureOf(error));
    }
  }

  private answer(incoming: Incoming, output: unknown): void {
    let answer: Answer;
    try {
      answer = { code: OutcomeCode.HANDLED, ...contentOf(output) };
    } catch (error) {
      answer = failureOf(error);
    }
    this.finish(incoming, answer);
  }

  private finish(incoming: Incoming, answer: Answer): void {
    if (incoming.state !== IncomingState.RUNNING) return;
    this.end(incoming, answer);
    if (incoming.key === undefined) return;
    const hasRun = answer.code === OutcomeCode.HANDLED || answer.code === OutcomeCode.FAILED;
    for (const joined of this.remembered.end(incoming, answer)) {
      if (hasRun) this.end(joined, answer.source === undefined ? answer : refusal(OutcomeCode.NO_ANSWER));
      else if (joined.isGivenUp) this.finish(joined, refusal(OutcomeCode.CANCELLED));
      else if (this.now() >= joined.deadlineMs) this.finish(joined, refusal(OutcomeCode.LATE));
      else this.begin(joined);
    }
  }

  private end(incoming: Incoming, answer: Answer): void {
    incoming.settle(answer);
    this.queue.onDone(incoming);
    if (this.isLeaving) this.endIfDone();
  }

  // --- sessions ---

  onMessage(incoming: Incoming): void {
    this.counters.received++;
    if (this.isLeaving) incoming.refuse(OutcomeCode.LEAVING);
    else if (this.isTooLong(incoming)) incoming.refuse(OutcomeCode.SIZE);
    else {
      this.queue.add(incoming);
      if (incoming.state === IncomingState.WAITING && !this.sweep.isSet) this.sweep.set(SWEEP_MS);
    }
  }

  onSettled({ answer }: Incoming): void {
    const { counters } = this;
    if (answer?.code === OutcomeCode.FAILED) counters.failed++;
    else if (answer?.code === OutcomeCode.HANDLED || answer?.code === OutcomeCode.NO_ANSWER) counters.handled++;
    else counters.refused++;
  }

  private isTooLong(incoming: Incoming): boolean {
    const { isApart, cost, apartBytes } = incoming;
    if (!isApart) return cost > this.options.maxMessageBytes;
    return !this.isStreamed(incoming) && apartBytes > this.options.maxMessageBytes;
  }

  onApart(incoming: Incoming): void {
    this.answers.add(incoming);
  }

  onCancel(incoming: Incoming): void {
    if (this.bodies.fail(incoming, OutcomeCode.CANCELLED)) return;
    const at = this.arrived.findIndex((one) => one.incoming === incoming);
    if (at >= 0) {
      this.arrived.splice(at, 1);
      this.finish(incoming, refusal(OutcomeCode.CANCELLED));
    } else if (this.queue.remove(incoming)) incoming.refuse(OutcomeCode.CANCELLED);
    else incoming.cancel();
  }

  onNoBody(incoming: Incoming): void {
    if (this.bodies.fail(incoming, OutcomeCode.CONTENT)) return;
    if (this.queue.remove(incoming)) incoming.refuse(OutcomeCode.CONTENT);
  }

  onRetired(end: LaneEnd, waiting: readonly Incoming[]): void {
    const { session } = end;
    if (this.sessions.get(session.run) === end) this.sessions.delete(session.run);
    this.reception.release(end.sender.key, end.credit);
    for (const incoming of waiting) {
      this.queue.remove(incoming);
      incoming.refuse(OutcomeCode.FORGOTTEN);
    }
    for (const incoming of [...session.open.inOrder(0)]) this.bodies.fail(incoming, OutcomeCode.FORGOTTEN);
    for (const incoming of [...session.apart.values()]) this.answers.drop(incoming);
    for (const incoming of session.open.inOrder(0))
      incoming.abort(starlaneError('ERR_STARLANE_CLOSED', 'the sender is gone'));
    if (this.isLeaving) this.endIfDone();
  }

  onMalformed({ nodeId }: Sender, error: Error): void {
    this.onWarning(starlaneError('ERR_STARLANE_MESSAGE_PROTOCOL', `@${nodeId}: ${error.message}`, error));
  }

  onDetached(): void {
    if (this.isLeaving) this.endIfDone();
  }

  onAbandoned(session: ReceiverSession): void {
    for (const incoming of session.open.inOrder(0)) this.bodies.fail(incoming, OutcomeCode.CONTENT);
  }

  private refuseLate(): void {
    const now = this.timers.now();
    let isWaiting = false;
    for (const incoming of [...this.queue.waiting()]) {
      if (now < incoming.deadlineMs) isWaiting = true;
      else if (this.queue.remove(incoming)) incoming.refuse(OutcomeCode.LATE);
    }
    if (isWaiting) this.sweep.set(SWEEP_MS);
  }

  // --- circuits ---

  onCircuit(socket: Socket, sender: Sender, preamble: Preamble, rest: Buffer): void {
    switch (preamble.kind) {
      case CircuitKind.LANE:
        this.onLane(socket, sender, preamble, rest);
        return;
      case CircuitKind.CALL:
        if (this.onCallCircuit === undefined || this.isLeaving) socket.destroy();
        else {
          socket.pause();
          if (rest.length > 0) socket.unshift(rest);
          this.scope.runInAsyncScope(this.onCallCircuit, undefined, socket, preamble.header, sender);
        }
        return;
      case CircuitKind.BODY: {
        const incoming = this.sessionOf(sender, preamble)?.open.get(preamble.number);
        if (incoming === undefined || !this.bodies.accept(incoming, socket, rest)) socket.destroy();
        return;
      }
      default: {
        const incoming = this.sessionOf(sender, preamble)?.apart.get(preamble.number);
        if (incoming === undefined || !this.answers.send(incoming, socket)) socket.destroy();
      }
    }
  }

  private sessionOf(sender: Sender, { run, epoch }: SessionName): ReceiverSession | undefined {
    const end = this.sessions.get(run);
    return end?.sender.key === sender.key && end.session.epoch === epoch ? end.session : undefined;
  }

  private onLane(
    socket: Socket,
    sender: Sender,
    { run, epoch, isResumed, outcomes }: Extract<Preamble, { kind: typeof CircuitKind.LANE }>,
    rest: Buffer,
  ): void {
    let end = this.sessions.get(run);
    if (end !== undefined && end.sender.key !== sender.key) throw new MalformedFrame('a session of another sender');
    if (isResumed) {
      if (end === undefined || end.session.epoch !== epoch) {
        refuseLane(socket, Welcome.GONE);
        return;
      }
    } else {
      if (end !== undefined) {
        if (!isFrom(epoch, end.session.epoch + 1)) throw new MalformedFrame('a session that is over');
        end.retire();
      }
      if (this.isLeaving) {
        refuseLane(socket, Welcome.LEAVING);
        return;
      }
      const credit = this.reception.admit(sender.key);
      if (credit === undefined) {
        refuseLane(socket, Welcome.FULL);
        return;
      }
      for (const other of this.sessions.values()) if (other.sender.key === sender.key) other.onSuccessor();
      end = new LaneEnd(this, run, epoch, sender, credit);
      this.sessions.set(run, end);
    }
    const circuit = new FrameCircuit(socket, end);
    end.attach(circuit, isResumed ? Welcome.RESUMED : Welcome.NEW, outcomes, sender);
    if (rest.length > 0) circuit.push(rest);
  }

  // --- the end ---

  /** Takes no more messages: what has not begun goes back to its sender. */
  leave(): void {
    if (this.isLeaving) return;
    this.isLeaving = true;
    for (const incoming of [...this.queue.waiting()]) {
      if (this.queue.remove(incoming)) incoming.refuse(OutcomeCode.LEAVING);
    }
    for (const end of this.sessions.values()) end.leave();
  }

  private ended: (() => void) | undefined;

  /** Closes the inbox: resolves when the handlers have finished and their outcomes have left, or after `timeoutMs`. */
  async close(timeoutMs: number): Promise<void> {
    if (this.isClosed) return;
    this.isClosed = true;
    this.leave();
    this.server.close();
    for (const taker of this.takers.splice(0)) taker(undefined);
    for (const { incoming } of this.arrived.splice(0)) this.finish(incoming, refusal(OutcomeCode.LEAVING));
    this.sweep.clear();
    await new Promise<void>((resolve) => {
      const late = new Deadline(this.timers, () => resolve());
      late.set(timeoutMs);
      this.ended = () => {
        late.clear();
        resolve();
      };
      this.endIfDone();
    });
    const late = netError('ECANCELED', 'message');
    for (const end of [...this.sessions.values()]) {
      for (const incoming of end.session.open.inOrder(0)) incoming.abort(late);
      end.retire();
    }
    this.onOver();
  }

  private endIfDone(): void {
    if (this.ended === undefined || this.queue.active > 0) return;
    // Those that have a circuit end when their sender has the last outcome.
    for (const end of this.sessions.values()) if (end.isAttached) return;
    this.ended();
  }
}

/** Says why there is no session, and ends the circuit. */
function refuseLane(socket: Socket, status: number): void {
  const writer = new FrameWriter();
  writer.welcome(status, 0, 0, 0);
  for (const piece of writer.take()) socket.write(piece);
  socket.resume();
  socket.end();
}

function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown> | undefined)?.then === 'function';
}
