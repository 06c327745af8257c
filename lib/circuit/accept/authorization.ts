// Circuits of one link that are put to `allow`. Mostly the answer is there at once; while it is awaited, a small sink keeps
// what comes, within the window of the stream.

import { EnvNames } from '../../access/env-names.js';
import { Decision, Guard, type Verdict, type Warn } from '../../access/guard.js';
import { kOnEnd } from '../../mux/hidden.js';
import type { MuxStream } from '../../mux/stream/stream.js';
import { type Allow, type AllowRequest, envsOf } from '../../options/allow.js';
import type { FarEnd } from '../../socket/far-end.js';
import { WarnOnce } from '../../util/rate-limited-warnings.js';
import type { Timers } from '../../util/timers.js';
import { BufferingSink } from './pending-open.js';

export interface AuthorizationSetup {
  readonly allow: Allow | undefined;
  readonly env: readonly string[];
  readonly timers: Timers;
  /** For a decision. */
  readonly timeoutMs: number;
  /** Circuits of one link that wait for a decision, at most. */
  readonly maxPending: number;
  onWarning(error: Error): void;
}

export class CircuitAuthorization {
  readonly maxPending: number;
  private readonly node: Guard | undefined;
  private readonly envNames: EnvNames;
  private readonly warn: Warn;

  constructor(private readonly setup: AuthorizationSetup) {
    const { allow, env, timers, maxPending } = setup;
    const warnings = new WarnOnce(timers, (error) => setup.onWarning(error));
    this.warn = (subject, error) => warnings.warn(subject, error);
    this.maxPending = maxPending;
    this.node = allow === undefined ? undefined : new Guard(allow, 'node', this.warn);
    this.envNames = new EnvNames(env);
    this.envNames.learn(envsOf(allow));
  }

  /** Who is to be asked about circuits to a server; undefined when everybody may dial it. */
  guardsOf(allow: Allow | undefined): readonly Guard[] | undefined {
    const { node } = this;
    if (allow === undefined) return node === undefined ? undefined : [node];
    this.envNames.learn(envsOf(allow));
    const server = new Guard(allow, 'server', this.warn);
    return node === undefined ? [server] : [node, server];
  }

  /** @param envDigests of the envs that the peer says it is in */
  request({ peerId, name, isVerified, via }: FarEnd, envDigests: readonly string[], to: Place): AllowRequest {
    const { service, port } = to;
    const env = this.envNames.of(envDigests);
    return { peer: { id: peerId, name, verified: isVerified, via: [...via], env }, service, port, direction: 'dial' };
  }

  /** @param remainingMs what is left of the dialler's time, as far as that is known */
  decide(
    guards: readonly Guard[],
    request: AllowRequest,
    remainingMs: number | undefined,
    tell: (verdict: Verdict) => void,
  ): Decision {
    const { timers, timeoutMs } = this.setup;
    return new Decision(guards, request, { timers, timeoutMs: Math.min(timeoutMs, remainingMs ?? timeoutMs), tell });
  }
}

interface Place {
  readonly service: string;
  readonly port: number;
}

export class PendingAuthorizations {
  private count = 0;

  constructor(private readonly access: CircuitAuthorization) {}

  /** How many are awaited. */
  get waiting(): number {
    return this.count;
  }

  /** No more can be asked about. */
  get isFull(): boolean {
    return this.count >= this.access.maxPending;
  }

  /**
   * Asks about the circuit on `stream`, of which `rest` has come behind OPEN. Tells the verdict, with all that has come by
   * then, maybe before it returns; not when the stream has gone meanwhile.
   */
  ask(
    guards: readonly Guard[],
    request: AllowRequest,
    remainingMs: number | undefined,
    stream: MuxStream,
    rest: Buffer,
    tell: (verdict: Verdict, bytes: Buffer) => void,
  ): void {
    let undecided: BufferingSink | undefined;
    const decision: Decision = this.access.decide(guards, request, remainingMs, (verdict) => {
      if (undecided === undefined) {
        tell(verdict, rest);
        return;
      }
      this.count--;
      const { held, isEnded } = undecided;
      try {
        tell(verdict, held);
      } finally {
        // Also when a listener of the server has thrown: the circuit stands.
        if (isEnded) stream.sink[kOnEnd](stream);
      }
    });
    if (decision.start()) return;
    this.count++;
    undecided = new BufferingSink(rest, () => {
      this.count--;
      decision.cancel();
    });
    // The peer is to know that it is not the link that takes its time.
    stream.accept();
    stream.sink = undecided;
  }
}
