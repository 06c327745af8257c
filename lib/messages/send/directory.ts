// Who can be meant by a target: the instances of a service, or one node.

import { isNodeId, type NodeId, parseServiceAddress } from '../../address.js';
import { starlaneError } from '../../errors.js';
import type { ServiceInstance } from '../../mesh/directory/service.js';
import type { Node } from '../../node/node.js';
import { MESSAGE_PORT } from '../ports.js';

/** A way to one receiver. */
export interface Receiver {
  readonly nodeId: NodeId;
  /** 0 to 255, as for dials. */
  readonly weight: number;
  /** Undefined: the inbox of the node itself. */
  readonly service: string | undefined;
}

/** A target: `@nodeId`, or a name. */
export type Named = { readonly nodeId: NodeId } | { readonly service: string };

/** @throws ERR_STARLANE_ADDRESS */
export function parseTarget(target: string): Named {
  if (typeof target !== 'string')
    throw starlaneError('ERR_STARLANE_ADDRESS', 'a target is @nodeId, a service or a member');
  if (target.startsWith('@')) {
    const nodeId = target.slice(1);
    if (!isNodeId(nodeId)) throw starlaneError('ERR_STARLANE_ADDRESS', `${target} is no node`);
    return { nodeId };
  }
  const parsed = parseServiceAddress(target);
  if (parsed.kind !== 'service' || parsed.port !== undefined) {
    throw starlaneError(
      'ERR_STARLANE_ADDRESS',
      `${target}: a target is @nodeId, a service or a member, without a port`,
    );
  }
  return { service: target };
}

/** Returns the receivers that a name has now: instances of the service, or else the member of that name. */
export function receiversOf(node: Node, name: string): Receiver[] {
  const { mesh, options, links } = node.queries.sources;
  const found: Receiver[] = [];
  for (const { nodeId, port, weight, local, service } of mesh.table.lookUp(
    name,
    MESSAGE_PORT,
  ) as readonly ServiceInstance[]) {
    // What is bound for any port is another kind of server.
    if (port === MESSAGE_PORT && (!local || options.loopback)) found.push({ nodeId, weight, service });
  }
  if (found.length > 0) return found;
  const members = node.members().filter((member) => member.name === name);
  if (members.length > 1) throw starlaneError('ERR_STARLANE_ARGUMENT', `several members are called ${name}`);
  if (members.length === 1) return [{ nodeId: members[0].id, weight: 1, service: undefined }];
  for (const { peerId, peerName } of links.values()) {
    if (peerName === name) found.push({ nodeId: peerId, weight: 1, service: undefined });
  }
  return found.length === 1 ? found : [];
}
