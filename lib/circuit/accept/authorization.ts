// Who may dial what. Authorization has the `allow` rules of the node and makes requests of circuits that come in;
// PendingAuthorizations puts the circuits of one link to them. Mostly the answer is there at once; while it is awaited, the circuit
// waits.

import { Decision, Guard, type Verdict, type Warn } from '../../access/guard.js';
import { EnvNames, envsOf } from '../../access/rules.js';
import type { Allow, AllowRequest } from '../../options/allow.js';
import { certifiedOf, type RemoteEndpoint } from '../../socket/endpoints.js';
import type { Timers } from '../../util/timers.js';
import { WarnOnce } from '../../util/warnings.js';
import type { IncomingCircuit } from './pending-open.js';

/** The rules of one node for circuits. */
export class Authorization {
  /** Circuits of one link that may wait for a decision. */
  readonly maxPending: number;
  /** For a decision. */
  readonly timeoutMs: number;
  private readonly node: Guard | undefined;
  private readonly envNames: EnvNames;
  private readonly warn: Warn;

  constructor(
    private readonly setup: {
      readonly allow: Allow | undefined;
      readonly env: readonly string[];
      readonly timers: Timers;
      /** For a decision. */
      readonly timeoutMs: number;
      readonly maxPending: number;
      onWarning(error: Error): void;
    },
  ) {
    const { allow, env, timers, maxPending } = setup;
    const warnings = new WarnOnce(timers, (error) => setup.onWarning(error));
    this.warn = (subject, error) => warnings.warn(subject, error);
    this.maxPending = maxPending;
    this.timeoutMs = setup.timeoutMs;
    this.node = allow === undefined ? undefined : new Guard(allow, 'node', this.warn);
    this.envNames = new EnvNames(env);
    this.envNames.learn(envsOf(allow));
  }

  /** Returns the guards of a server, which all have to allow a circuit; undefined when every node may dial it. */
  guardsOf(allow: Allow | undefined): readonly Guard[] | undefined {
    const { node } = this;
    if (allow === undefined) return node === undefined ? undefined : [node];
    this.envNames.learn(envsOf(allow));
    const server = new Guard(allow, 'server', this.warn);
    return node === undefined ? [server] : [node, server];
  }

  /** @param envDigests of the envs that the peer says it is in. @param to where the circuit leads */
  request(
    remote: RemoteEndpoint,
    envDigests: readonly string[],
    { service, port }: { readonly service: string; readonly port: number },
  ): AllowRequest {
    const { peerId: id, isVerified: verified, via } = remote;
    const { name, tags } = certifiedOf(remote);
    const env = this.envNames.of(envDigests);
    const peer = { id, name, tags: [...tags], verified, via: [...via], env };
    return { peer, service, port, direction: 'dial' };
  }

  /** @param remainingMs what is left of the dialler's time, as far as that is known */
  decide(
    guards: readonly Guard[],
    request: AllowRequest,
    remainingMs: number | undefined,
    onVerdict: (verdict: Verdict) => void,
  ): Decision {
    const { timeoutMs } = this;
    const { timers } = this.setup;
    const limitMs = Math.min(timeoutMs, remainingMs ?? timeoutMs);
    return new Decision(guards, request, { timers, timeoutMs: limitMs, onDecided: onVerdict });
  }
}

/** Circuits of one link that wait for a decision. */
export class PendingAuthorizations {
  private readonly waiting = new Set<IncomingCircuit>();

  constructor(private readonly authorization: Authorization) {}

  get size(): number {
    return this.waiting.size;
  }

  /** The circuits that wait. */
  circuits(): Iterable<IncomingCircuit> {
    return this.waiting;
  }

  /** Whether no more decisions can be awaited. */
  get isFull(): boolean {
    return this.size >= this.authorization.maxPending;
  }

  /** Asks the guards about a circuit. `onVerdict` may be called before this returns, and is not when the stream is reset before. */
  ask(
    circuit: IncomingCircuit,
    guards: readonly Guard[],
    request: AllowRequest,
    onVerdict: (verdict: Verdict) => void,
  ): void {
    const decision = this.authorization.decide(guards, request, circuit.open.remainingMs, (verdict) => {
      this.waiting.delete(circuit);
      onVerdict(verdict);
    });
    if (decision.start()) return;
    this.waiting.add(circuit);
    circuit.wait(() => {
      // Also called for a circuit that is reset because `onVerdict` threw.
      if (this.waiting.delete(circuit)) decision.cancel();
    });
  }
}
