// Which services of others this node sees: `allow` (direction 'bind') decides about each instance before it enters the table.
// It is called once, when a node begins to offer the instance; a change of weight or meta does not call it again.
//
// A hidden instance is denied, or its decision is pending. It is kept, but causes no events.

import { Decision, Guard, type Verdict } from '../../access/guard.js';
import { EnvNames, envsOf } from '../../access/rules.js';
import type { NodeId } from '../../address.js';
import type { MemberBook } from '../../identity/member-book.js';
import type { Allow, AllowRequest } from '../../options/allow.js';
import { WarnOnce } from '../../util/warnings.js';
import type { MeshEnvironment } from '../ports.js';
import type { ServiceInstance } from './service.js';

export interface BindAccessSetup {
  readonly allow: Allow;
  /** Names of the envs of this node. */
  readonly env: readonly string[];
  readonly environment: Pick<MeshEnvironment, 'timers' | 'warn'>;
  /** Limit of each decision. */
  readonly timeoutMs: number;
  /** Pending decisions about services of one node. Others wait. */
  readonly maxPending: number;
  /** Has the names and tags of nodes, in a network with members. */
  readonly members?: MemberBook | undefined;
}

interface Question {
  instance: ServiceInstance;
  readonly envDigests: readonly string[];
  /** Set while it is pending. */
  decision: Decision | undefined;
}

/** Decisions about the services of one node. */
interface Queue {
  asked: number;
  readonly waiting: Set<Question>;
  isAsking: boolean;
}

export class BindAccess {
  private readonly guard: Guard;
  private readonly envNames: EnvNames;
  private readonly hidden = new Map<ServiceInstance, Question>();
  private readonly queues = new Map<NodeId, Queue>();
  /** Decisions that have not been requested. */
  private fresh: Question[] = [];
  /** Nodes for which more decisions may start. */
  private readonly freed = new Set<NodeId>();

  constructor(
    private readonly setup: BindAccessSetup,
    /** Called with a hidden instance that is allowed: in {@link ask}, or later. */
    private readonly onAllowed: (instance: ServiceInstance) => void,
  ) {
    const { allow, env, environment } = setup;
    const warnings = new WarnOnce(environment.timers, (error) => environment.warn(error));
    this.guard = new Guard(allow, 'node', (subject, error) => warnings.warn(subject, error));
    this.envNames = new EnvNames(env);
    this.envNames.learn(envsOf(allow));
  }

  /** The number of hidden instances. */
  get size(): number {
    return this.hidden.size;
  }

  /** Returns the hidden instances. */
  instances(): IterableIterator<ServiceInstance> {
    return this.hidden.keys();
  }

  /** Hides an instance that a node begins to offer. {@link ask} starts the decision. */
  hide(instance: ServiceInstance, envDigests: readonly string[]): void {
    const question = { instance, envDigests, decision: undefined };
    this.hidden.set(instance, question);
    this.fresh.push(question);
  }

  /** Called when an instance replaces another, whose decision it takes over. True when it is hidden. */
  replace(before: ServiceInstance, instance: ServiceInstance): boolean {
    const question = this.hidden.get(before);
    if (question === undefined) return false;
    this.hidden.delete(before);
    this.hidden.set(instance, question);
    question.instance = instance;
    return true;
  }

  /** Called when an instance is not offered any more. True when it was hidden. {@link ask} continues with those that wait. */
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

  /** Starts decisions about instances that were hidden since the last call. The user's function may call back meanwhile. */
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

  /** Cancels all decisions. */
  dispose(): void {
    for (const { decision } of this.hidden.values()) decision?.cancel();
    this.hidden.clear();
    this.queues.clear();
    this.fresh = [];
    this.freed.clear();
  }

  private goOn(nodeId: NodeId): void {
    const queue = this.queues.get(nodeId);
    // The loop also takes questions that the user's function or an immediate verdict adds meanwhile.
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
    // Forgotten since, or replaced by another question.
    if (this.hidden.get(question.instance) !== question) return;
    const { environment, timeoutMs } = this.setup;
    const decision = new Decision([this.guard], this.requestOf(question), {
      timers: environment.timers,
      timeoutMs,
      onDecided: (verdict) => this.onVerdict(question, queue, verdict),
    });
    // Counted before the start: the decision may end at once.
    queue.asked++;
    question.decision = decision;
    decision.start();
  }

  private requestOf({ instance, envDigests }: Question): AllowRequest {
    const { nodeId, service, port } = instance;
    const member = this.setup.members?.member(nodeId);
    const env = this.envNames.of(envDigests);
    // The record is signed with the key from which the id is derived.
    const peer = { id: nodeId, name: member?.name, tags: [...(member?.tags ?? [])], verified: true, via: [], env };
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
