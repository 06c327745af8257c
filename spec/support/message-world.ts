// Senders and receivers of messages in one process, over a network in which bytes arrive when a spec says so: circuits may break at either
// end at any moment, and what was on its way may still arrive after the sender has noticed. What handlers do is logged.

import { EventEmitter } from 'node:events';
import { setImmediate as realImmediate } from 'node:timers/promises';
import { resolveMessagesOptions } from '../../lib/messages/options.js';
import type { MessageError, Outcome } from '../../lib/messages/outcome.js';
import { Post } from '../../lib/messages/post.js';
import { kRemote } from '../../lib/mux/hidden.js';
import type { Node } from '../../lib/node/node.js';
import type { Socket } from '../../lib/socket/socket.js';
import { Timers } from '../../lib/util/timers.js';
import { FakeClock } from './fake-clock.js';

export const SERVICE = 'orders';
const RESUME_MS = 5_000;

/** What is known of a message of the spec. */
export interface Sent {
  readonly id: number;
  readonly isCall: boolean;
  readonly isIdempotent: boolean;
  readonly key: string | undefined;
  outcome: Outcome | undefined;
  code: string | undefined;
  /** Of the log, when the outcome was known. */
  settledAt: number;
}

/** A run of a handler. */
export interface Run {
  readonly id: number;
  readonly key: string | undefined;
  readonly isCall: boolean;
  /** The process of the receiver. */
  readonly process: number;
  readonly beganAt: number;
  endedAt: number;
  failed: boolean;
  finish(failed: boolean): void;
}

class FakeSocket extends EventEmitter {
  writableLength = 0;
  destroyed = false;
  [kRemote]: unknown;
  peer: unknown;

  constructor(
    private readonly wire: Wire,
    private readonly isNear: boolean,
  ) {
    super();
    this.on('error', () => {});
  }

  write(chunk: Buffer): boolean {
    if (!this.destroyed) this.wire.write(this.isNear, Buffer.from(chunk));
    return true;
  }

  end(): void {
    if (!this.destroyed) this.wire.write(this.isNear, undefined);
  }

  destroy(error?: Error): void {
    if (this.destroyed) return;
    this.destroyed = true;
    this.wire.write(this.isNear, undefined);
    if (error !== undefined) this.emit('error', error);
    this.emit('close');
  }

  ref(): void {}
  unref(): void {}
  resume(): void {}
  pause(): void {}
  unshift(): void {}
}

/** A circuit. Undefined among its bytes: the end. */
export class Wire {
  readonly near = new FakeSocket(this, true);
  far: FakeSocket | undefined;
  readonly toFar: Array<Buffer | undefined> = [];
  readonly toNear: Array<Buffer | undefined> = [];
  isRefused = false;

  constructor(
    private readonly world: World,
    readonly from: Endpoint,
    readonly to: string,
  ) {}

  write(isNear: boolean, chunk: Buffer | undefined): void {
    (isNear ? this.toFar : this.toNear).push(chunk);
  }

  get isConnected(): boolean {
    return this.far !== undefined;
  }

  get isOver(): boolean {
    return this.near.destroyed && (this.far === undefined ? true : this.far.destroyed);
  }

  /** Something is on its way that can arrive. */
  get isBusy(): boolean {
    if (this.far === undefined) return !this.near.destroyed;
    return (this.toFar.length > 0 && !this.far.destroyed) || (this.toNear.length > 0 && !this.near.destroyed);
  }

  /** Connects, or refuses. */
  open(): void {
    if (this.far !== undefined || this.near.destroyed) return;
    const receiver = this.world.receivers.get(this.to);
    if (receiver?.accept === undefined) {
      this.cutNear('ECONNREFUSED');
      return;
    }
    const far = new FakeSocket(this, false);
    far[kRemote] = { peerId: this.from.id, isVerified: true, name: undefined };
    far.peer = { service: SERVICE };
    this.far = far;
    receiver.accept(far as unknown as Socket);
    this.near.emit('connect');
  }

  /** Delivers up to `bytes` of one direction. */
  deliver(isToFar: boolean, bytes: number): void {
    if (this.far === undefined) {
      this.open();
      return;
    }
    const queue = isToFar ? this.toFar : this.toNear;
    const socket = isToFar ? this.far : this.near;
    let left = bytes;
    while (queue.length > 0 && left > 0 && !socket.destroyed) {
      const chunk = queue[0];
      if (chunk === undefined) {
        queue.shift();
        socket.emit('end');
        socket.destroy();
        return;
      }
      const part = chunk.subarray(0, left);
      if (part.length === chunk.length) queue.shift();
      else queue[0] = chunk.subarray(part.length);
      left -= part.length;
      socket.emit('data', part);
    }
  }

  /** The sender notices that the circuit is broken. */
  cutNear(code = 'ECONNRESET'): void {
    this.near.destroy(Object.assign(new Error(code), { code }));
  }

  /** The receiver notices, and gets nothing more. */
  cutFar(): void {
    this.toFar.length = 0;
    this.far?.destroy();
  }
}

/** A node, as far as messages need one. */
class Endpoint {
  accept: ((socket: Socket) => void) | undefined;
  readonly services = new EventEmitter();
  readonly node: Node;
  readonly post: Post;

  constructor(
    world: World,
    readonly id: string,
  ) {
    const circuits = {
      processRefs: { ref: () => {}, unref: () => {} },
      beforeClose: () => {},
      drain: { beforeBegin: () => {} },
    };
    const sources = {
      circuits,
      mesh: { table: { lookUp: () => world.instances() } },
      options: { loopback: true, closeTimeoutMs: 5_000 },
      links: { values: () => [] },
    };
    this.node = {
      id,
      members: () => [],
      on: () => {},
      serviceMap: () => this.services,
      queries: { sources },
      bind: (_address: string, _options: unknown, handler: (socket: Socket) => void) => {
        this.accept = handler;
        return { close: () => (this.accept = undefined) };
      },
      dial: (
        _address: string,
        options: { selector: (all: unknown[]) => { nodeId: string } | undefined; timeoutMs: number },
      ) => world.dial(this, options.selector(world.instances())?.nodeId, options.timeoutMs),
    } as unknown as Node;
    const options = resolveMessagesOptions({ resumeMs: RESUME_MS, idleMs: 2_000 });
    this.post = new Post(this.node, options, world.timers, () => {});
  }
}

/** A receiver with its processes, of which one lives. */
class Receiver extends Endpoint {
  process = 0;
}

export class World {
  readonly clock = new FakeClock();
  readonly timers = new Timers(this.clock);
  readonly receivers = new Map<string, Receiver>();
  readonly sender: Endpoint;
  wires: Wire[] = [];
  readonly sent: Sent[] = [];
  readonly runs: Run[] = [];
  private time = 0;
  private processes = 0;

  constructor(readonly receiverIds: readonly string[] = ['AAAAAAAAAAA', 'BBBBBBBBBBB']) {
    this.sender = new Endpoint(this, 'SSSSSSSSSSS');
    for (const id of receiverIds) this.start(id);
  }

  instances(): unknown[] {
    return [...this.receivers.values()]
      .filter(({ accept }) => accept !== undefined)
      .map(({ id }) => ({ nodeId: id, port: 16, weight: 1, local: false, service: SERVICE }));
  }

  dial(from: Endpoint, to: string | undefined, timeoutMs: number): Socket {
    const wire = new Wire(this, from, to ?? '');
    this.wires.push(wire);
    this.timers.schedule(timeoutMs, {
      onDeadline: () => {
        if (!wire.isConnected) wire.cutNear('ETIMEDOUT');
      },
    });
    return wire.near as unknown as Socket;
  }

  /** Starts a process of a receiver. */
  private start(id: string): void {
    const receiver = new Receiver(this, id);
    receiver.process = ++this.processes;
    this.receivers.set(id, receiver);
    const inbox = receiver.post.inbox(SERVICE, { concurrency: 8 });
    inbox.onMessage(({ data, idempotencyKey }) => this.handle(receiver.process, data, false, idempotencyKey));
    inbox.onCommand(1, (input, call) => this.handle(receiver.process, input, true, call.idempotencyKey), {
      concurrency: 3,
    });
    this.sender.services.emit('add', { port: 16 });
  }

  /** Kills the process of a receiver, and starts another one. */
  restart(id: string): void {
    const old = this.receivers.get(id) as Receiver;
    this.receivers.delete(id);
    for (const wire of this.wires) if (wire.to === id) wire.cutFar();
    // What it runs has nobody to answer to.
    old.accept = undefined;
    this.start(id);
  }

  /** Closes a receiver in order, while another process takes its place. */
  replace(id: string): void {
    const old = this.receivers.get(id) as Receiver;
    this.receivers.delete(id);
    void old.post.close();
    this.start(id);
  }

  private handle(process: number, data: unknown, isCall: boolean, key: string | undefined): unknown {
    const id = Number.parseInt(String(data), 10);
    return new Promise((resolve, reject) => {
      const run: Run = {
        id,
        key,
        isCall,
        process,
        beganAt: ++this.time,
        endedAt: 0,
        failed: false,
        finish: (failed) => {
          if (run.endedAt > 0) return;
          run.endedAt = ++this.time;
          run.failed = failed;
          if (failed) reject(new Error('failed'));
          else resolve(data);
        },
      };
      this.runs.push(run);
      if (id % 3 === 0) run.finish(id % 2 === 0);
    });
  }

  /** @param isLong whether its content, and its answer, travel on circuits of their own */
  send(
    isCall: boolean,
    timeoutMs: number,
    isIdempotent: boolean,
    isLong: boolean,
    key?: string,
    signal?: AbortSignal,
  ): Sent {
    const id = this.sent.length + 1;
    const sent: Sent = { id, isCall, isIdempotent, key, outcome: undefined, code: undefined, settledAt: 0 };
    this.sent.push(sent);
    const options = { timeoutMs, idempotent: isIdempotent, idempotencyKey: key, signal };
    const data = isLong ? `${id}${' '.repeat(70_000)}` : id;
    this.sender.post.send(SERVICE, data, isCall ? 1 : undefined, options).then(
      (value) => {
        sent.outcome = 'handled';
        sent.settledAt = ++this.time;
        if (isCall && key === undefined && value !== data) sent.code = `the answer ${String(value).trim()}`;
      },
      (error: MessageError) => {
        sent.outcome = error.outcome;
        sent.code = error.code;
        sent.settledAt = ++this.time;
      },
    );
    return sent;
  }

  /** Lets everything happen that follows from what has happened. */
  async settle(): Promise<void> {
    await realImmediate();
    this.clock.runImmediates();
    await realImmediate();
  }

  async advance(ms: number): Promise<void> {
    this.clock.advance(ms);
    await this.settle();
  }

  /** The network works, handlers finish, and time passes, until every message has its outcome. */
  async heal(): Promise<void> {
    for (let turn = 0; turn < 400; turn++) {
      this.wires = this.wires.filter((wire) => !wire.isOver);
      for (const wire of this.wires) {
        wire.deliver(true, 100_000);
        wire.deliver(false, 100_000);
      }
      for (const run of this.runs) run.finish(false);
      await this.settle();
      const isBusy = this.wires.some((wire) => wire.isBusy);
      if (!isBusy && this.sent.every(({ outcome }) => outcome !== undefined)) return;
      if (!isBusy || turn % 10 === 9) await this.advance(200);
    }
  }

  /** Returns what the promise is broken by. */
  violations(): string[] {
    const found: string[] = [];
    const runsOf = new Map<number, Run[]>();
    for (const run of this.runs) runsOf.set(run.id, [...(runsOf.get(run.id) ?? []), run]);
    for (const { id, outcome, code, settledAt, isIdempotent, isCall, key } of this.sent) {
      const own = runsOf.get(id) ?? [];
      // The run of another one with the same key counts for this one.
      const runs = key === undefined ? own : this.runs.filter((run) => run.key === key && run.isCall === isCall);
      if (outcome === undefined) found.push(`${id} has no outcome`);
      if (outcome === 'not-handled' && own.length > 0) found.push(`${id} is not handled, and ran`);
      if (outcome === 'handled' && !runs.some(({ endedAt }) => endedAt > 0 && endedAt < settledAt)) {
        found.push(`${id} is handled, and has not run`);
      }
      if (
        outcome === 'handled' &&
        code !== undefined &&
        code !== 'ERR_STARLANE_HANDLER_FAILED' &&
        code !== 'ERR_STARLANE_ANSWER_LOST'
      )
        found.push(`${id}: ${code}`);
      if (!isIdempotent && own.length > 1) found.push(`${id} ran ${own.length} times`);
      if (key !== undefined && new Set(runs.map(({ process }) => process)).size < runs.length)
        found.push(`${key} ran twice`);
    }
    const last = new Map<number, Run>();
    for (const run of this.runs) {
      if (run.isCall || this.sent[run.id - 1].isIdempotent) continue;
      const before = last.get(run.process);
      if (before !== undefined && before.id > run.id) found.push(`${run.id} ran after ${before.id}`);
      if (before !== undefined && (before.endedAt === 0 || before.endedAt > run.beganAt))
        found.push(`${run.id} ran beside ${before.id}`);
      last.set(run.process, run);
    }
    return found;
  }
}
