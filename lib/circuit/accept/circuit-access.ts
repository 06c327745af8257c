// Who may dial what: whom to ask about circuits that come in, and what they are asked.

import { Decision, Guard, type Verdict, type Warn } from '../../access/guard.js';
import { EnvNames, envsOf } from '../../access/rules.js';
import type { Allow, AllowRequest } from '../../options/allow.js';
import type { FarEnd } from '../../socket/far-end.js';
import type { Timers } from '../../util/timers.js';
import { WarnOnce } from '../../util/warnings.js';

export interface CircuitAccessSetup {
  readonly allow: Allow | undefined;
  readonly env: readonly string[];
  readonly timers: Timers;
  /** For a decision. */
  readonly timeoutMs: number;
  /** Circuits of one link that wait for a decision, at most. */
  readonly maxPending: number;
  onWarning(error: Error): void;
}

export class CircuitAccess {
  readonly maxPending: number;
  private readonly node: Guard | undefined;
  private readonly envNames: EnvNames;
  private readonly warn: Warn;

  constructor(private readonly setup: CircuitAccessSetup) {
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
