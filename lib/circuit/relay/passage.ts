// Relay rules: whose circuits to which services may pass through this node. What is verified of a source is what its own link, or its
// signature in OPEN, proves. A signature is checked only when that changes the answer, and for a few circuits in each turn.

import { AllowRules, EnvNames, envsOf, type RuleSubject } from '../../access/rules.js';
import type { NodeId } from '../../address.js';
import type { RelayRule } from '../../options/allow.js';
import { type Certified, certifiedOf, NOT_CERTIFIED, type RemoteEndpoint } from '../../socket/endpoints.js';
import type { Clock } from '../../util/timers.js';
import type { Open } from '../../wire/open.js';
import { ReplyCode } from '../../wire/open-reply.js';
import { LAST_RESERVED_PORT, QUERY_PORT } from '../bindings.js';
import { ProofQueue } from '../secure/confirmation.js';
import type { RelayNeighbour } from './admission.js';
import type { PendingRelay } from './pending-relay.js';

/** What diallers get as the reason. */
export const NOT_ALLOWED = 'no relay rule of the node allows it';

/** The neighbour that an OPEN came from, as its link has proved. */
export interface Sender {
  readonly remote: RemoteEndpoint;
  readonly envDigests: readonly string[];
}

interface PassageSetup {
  readonly rules: readonly RelayRule[];
  /** Names of the envs of this node. */
  readonly env: readonly string[];
  readonly clock: Clock;
  /** Circuits of one neighbour whose signatures may wait to be checked. */
  readonly maxWaiting: number;
  /** Returns what is certified of a member; undefined where there are none. */
  readonly certified: ((nodeId: NodeId) => Certified) | undefined;
  /** @throws when the node that OPEN names as its source has not signed it */
  verifySource(open: Open): void;
}

/** Whether a circuit may pass; 'verify': if its source has signed it. */
export type PassageAnswer = 'yes' | 'no' | 'verify';

/**
 * Whether a circuit is for the library of another node: rules about the services of users must not keep members from renewing their
 * certificates, joiners from the issuer, and queries from any node. Only nodes with credentials keep the other ports from users.
 */
function isForLibrary({ service, dstPort }: Open, hasMembers: boolean): boolean {
  if (service !== '') return false;
  return dstPort === QUERY_PORT || (hasMembers && dstPort > 0 && dstPort <= LAST_RESERVED_PORT);
}

export class Passage {
  private readonly rules: AllowRules;
  private readonly envNames: EnvNames;
  private readonly queues = new WeakMap<RelayNeighbour, ProofQueue<PendingRelay>>();

  constructor(private readonly setup: PassageSetup) {
    const { rules, env } = setup;
    this.rules = new AllowRules(rules);
    this.envNames = new EnvNames(env);
    this.envNames.learn(envsOf(rules));
  }

  ask(open: Open, sender: Sender): PassageAnswer {
    if (isForLibrary(open, this.setup.certified !== undefined)) return 'yes';
    const isNeighbour = open.relays === 0;
    const subject = this.subjectOf(open, isNeighbour ? sender : undefined);
    if (!this.rules.allows(subject)) return 'no';
    if (isNeighbour || this.rules.allows({ ...subject, peer: { ...subject.peer, verified: false } })) return 'yes';
    return open.proof === undefined ? 'no' : 'verify';
  }

  /**
   * Checks the signature of a circuit that came from this neighbour, at once or in a later turn: the circuit starts then, or is denied.
   * Returns false when too many wait.
   */
  verify(pending: PendingRelay, from: RelayNeighbour): boolean {
    let queue = this.queues.get(from);
    if (queue === undefined) {
      queue = new ProofQueue(this.setup.clock, (waiting) => this.check(waiting));
      this.queues.set(from, queue);
    }
    if (queue.take()) this.check(pending);
    else if (queue.size < this.setup.maxWaiting) queue.wait(pending);
    else return false;
    return true;
  }

  private check(pending: PendingRelay): void {
    try {
      this.setup.verifySource(pending.open);
    } catch (error) {
      pending.refuse(ReplyCode.DENIED, `${NOT_ALLOWED}: ${(error as Error).message}`);
      return;
    }
    pending.start();
  }

  /** Returns what the rules look at, as if the source were verified. `neighbour`: the source, if it is the neighbour itself. */
  private subjectOf({ src, service, env }: Open, neighbour: Sender | undefined): RuleSubject {
    const { name, tags } =
      neighbour === undefined ? (this.setup.certified?.(src) ?? NOT_CERTIFIED) : certifiedOf(neighbour.remote);
    const digests = neighbour === undefined ? (env === undefined ? [] : [env]) : neighbour.envDigests;
    const peer = { id: src, name, tags, verified: true, env: this.envNames.of(digests) };
    return { peer, service, direction: 'dial' };
  }
}
