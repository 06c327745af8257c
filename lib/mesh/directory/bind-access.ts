// Whose services this node sees: what another node offers is put to `allow` (direction 'bind') before it is in the table.
// Each is asked about once, when the node begins to offer it: a change of its weight or meta asks nothing.
//
// What is hidden is an instance like any other that nobody is told of: denied, or not decided yet.

import { Decision, Guard, type Verdict } from '../../access/guard.js';
import { EnvNames, envsOf } from '../../access/rules.js';
import type { NodeId } from '../../address.js';
import type { Allow, AllowRequest } from '../../options/allow.js';
import type { Timers } from '../../util/timers.js';
import { WarnOnce } from '../../util/warnings.js';
import type { ServiceInstance } from './service.js';

export interface BindAccessSetup {
  readonly allow: Allow;
  /** Names of the envs of this node. */
  readonly env: readonly string[];
  readonly timers: Timers;
  /** For each decision. */
  readonly timeoutMs: number;
  /** Services of one node about which is asked at a time. Others wait for their turn. */
  readonly maxPending: number;
  onWarning(error: Error): void;
}

interface Question {
  instance: ServiceInstance;
  readonly envDigests: readonly string[];
  /** While a promise is awaited. */
  decision: Decision | undefined;
}

/** Questions about one node. */
interface Queue {
  asked: number;
  readonly waiting: Set<Question>;
  isAsking: boolean;
}

export class BindAccess {
  /** Called with what was hidden and is allowed: in {@link ask}, or later. */
  onAllowed: (instance: ServiceInstance) => void = () => {};
  private readonly guard: Guard;
  private readonly envNames: EnvNames;
  private readonly hidden = new Map<ServiceInstance, Question>();
  private readonly queues = new Map<NodeId, Queue>();
  /** Not put to anybody yet. */
  private fresh: Question[] = [];
  /** Nodes of which more can be asked about. */
  private readonly freed = new Set<NodeId>();

  constructor(private readonly setup: BindAccessSetup) {
    const { allow, env, timers } = setup;
    const warnings = new WarnOnce(timers, (error) => setup.onWarning(error));
    this.guard = new Guard(allow, 'node', (subject, error) => warnings.warn(subject, error));
    this.envNames = new EnvNames(env);
    this.envNames.learn(envsOf(allow));
  }

  /** Instances that are offered and not seen. */
  get size(): number {
    return this.hidden.size;
  }

  /** They themselves. */
  instances(): IterableIterator<ServiceInstance> {
    return this.hidden.keys();
  }

  /** A node begins to offer an instance, which is hidden until it is allowed. {@link ask} puts the question. */
  hide(instance: ServiceInstance, envDigests: readonly string[]): void {
    const question = { instance, envDigests, decision: undefined };
    this.hidden.set(instance, question);
    this.fresh.push(question);
  }

  /** An instance takes the place of another, with all that is known of it. True: it is hidden as well. */
  replace(before: ServiceInstance, instance: ServiceInstance): boolean {
    const question = this.hidden.get(before);
    if (question === undefined) return false;
    this.hidden.delete(before);
    this.hidden.set(instance, question);
    question.instance = instance;
    return true;
  }

  /** It is not offered any more. True: it was hidden. {@link ask} goes on with those that wait. */
  forget(instance: ServiceInstance): boolean {
    const question = this.hidden.get(instance);
    if (question === undefined) return false;
    this.hidden.delete(instance);
    const { nodeId } = instance;
    const queue = this.queues.get(nodeId);
    queue?.waiting.delete(question);
    if (queue !== undefined && question.decision !== undefined) {
      question.decision.cancel();
      queue.asked--;
    }
    this.freed.add(nodeId);
    return true;
  }

  /** Puts the questions about all that was hidden since the last time. The user's function may do anything meanwhile. */
  ask(): void {
    const { fresh } = this;
    this.fresh = [];
    for (const question of fresh) {
      const { nodeId } = question.instance;
      let queue = this.queues.get(nodeId);
      if (queue === undefined) {
        queue = { asked: 0, waiting: new Set(), isAsking: false };
        this.queues.set(nodeId, queue);
      }
      queue.waiting.add(question);
      this.freed.add(nodeId);
    }
    for (const nodeId of this.freed) {
      this.freed.delete(nodeId);
      this.goOn(nodeId);
    }
  }

  /** Nothing is decided any more. */
  stop(): void {
    for (const { decision } of this.hidden.values()) decision?.cancel();
    this.hidden.clear();
    this.queues.clear();
    this.fresh = [];
    this.freed.clear();
  }

  private goOn(nodeId: NodeId): void {
    const queue = this.queues.get(nodeId);
    // What is added while this runs is taken as well: by the function that is asked, or by an answer that comes at once.
    if (queue === undefined || queue.isAsking) return;
    const { waiting } = queue;
    queue.isAsking = true;
    for (const question of waiting) {
      if (queue.asked >= this.setup.maxPending) break;
      waiting.delete(question);
      this.put(question, queue);
    }
    queue.isAsking = false;
    if (queue.asked === 0 && waiting.size === 0) this.queues.delete(nodeId);
  }

  private put(question: Question, queue: Queue): void {
    // Forgotten since, or another one is asked about it.
    if (this.hidden.get(question.instance) !== question) return;
    const { timers, timeoutMs } = this.setup;
    const decision = new Decision([this.guard], this.requestOf(question), {
      timers,
      timeoutMs,
      tell: (verdict) => this.onVerdict(question, queue, verdict),
    });
    // Counted before: a promise may be there already, but it tells later.
    queue.asked++;
    question.decision = decision;
    decision.start();
  }

  private requestOf({ instance, envDigests }: Question): AllowRequest {
    const { nodeId, service, port } = instance;
    // The record is signed with the key that the id follows from.
    const peer = { id: nodeId, name: undefined, verified: true, via: [], env: this.envNames.of(envDigests) };
    return { peer, service, port, direction: 'bind' };
  }

  private onVerdict(question: Question, queue: Queue, verdict: Verdict): void {
    queue.asked--;
    question.decision = undefined;
    const { instance } = question;
    if (verdict === true && this.hidden.delete(instance)) this.onAllowed(instance);
    this.goOn(instance.nodeId);
  }
}
