// Who may ask what. A caller who shares no env with the node gets nothing. One who does gets what says nothing about others: whether the
// node is alive and ready, and how far a hop is, and those services and nodes that it may dial. Everything else is for those whom the option
// `queries` names.

import { AllowRules, EnvNames, envsOf as envsOfRules } from '../../access/rules.js';
import type { AllowRule } from '../../options/allow.js';
import { certifiedOf, type RemoteEndpoint } from '../../socket/endpoints.js';
import { envsOf, type QuerySources } from './sources.js';

/** The tag of members that may ask for everything, as issuers may. */
const OPERATOR_TAG = 'operator';

export interface CallerRights {
  /** Whether everything may be asked for. */
  readonly all: boolean;
  /**
   * Without `all`: whether the caller may dial a service of this node, as far as rules say. What a function of the user would decide is not
   * asked ahead of a dial, and counts as no.
   */
  mayDial?(service: string, port: number): boolean;
  /** The envs of the node whose services and addresses may be seen. Without any, every query is denied. */
  readonly envs: ReadonlySet<string>;
}

/** Decides about the callers of one node. */
export class QueryRights {
  private readonly rules: AllowRules | undefined;
  private readonly envNames: EnvNames | undefined;
  /** Those of the node itself, and of its user. */
  readonly own: CallerRights;

  constructor(private readonly sources: QuerySources) {
    const { queries, env } = sources.options;
    this.own = Object.freeze({ all: true, envs: new Set(sources.envDigests) });
    if (!Array.isArray(queries)) return;
    const rules = queries as readonly AllowRule[];
    this.rules = new AllowRules(rules);
    this.envNames = new EnvNames(env);
    this.envNames.learn(envsOfRules(rules));
  }

  of(remote: RemoteEndpoint): CallerRights {
    const { sources } = this;
    if (remote.peerId === sources.id) return this.own;
    // What it says in OPEN, and what its link or its record say: a circuit carries one env of those that it shares.
    const claimed = [...(remote.envDigests ?? []), ...(envsOf(sources, remote.peerId) ?? [])];
    const envs = new Set(claimed.filter((digest) => sources.envDigests.includes(digest)));
    if (envs.size > 0 && this.mayAskAll(remote, claimed)) return { all: true, envs };
    return { all: false, envs, mayDial: (service, port) => sources.circuits.mayDial(remote, claimed, service, port) };
  }

  private mayAskAll(remote: RemoteEndpoint, envDigests: readonly string[]): boolean {
    const { members, hasSecret } = this.sources;
    if (this.rules !== undefined && this.envNames !== undefined) {
      const { name, tags } = certifiedOf(remote);
      const env = this.envNames.of(envDigests);
      const peer = { id: remote.peerId, name, tags: [...tags], verified: remote.isVerified, env };
      return this.rules.allows({ peer, service: '', direction: 'dial' });
    }
    if (!remote.isVerified) return false;
    if (members === undefined) return hasSecret;
    const member = members.member(remote.peerId);
    return member !== undefined && (member.rights.issue || member.tags.includes(OPERATOR_TAG));
  }
}
