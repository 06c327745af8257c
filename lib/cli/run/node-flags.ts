// Flags of every command that runs a node, or uses the one that runs.

import { type Flags, flag } from '../flags.js';

export const NODE_FLAGS = {
  credentials: flag.text('the folder that makes this machine a member (else the network that was used last)', {
    value: 'FOLDER',
  }),
  join: flag.list('link addresses of nodes to join, names in DNS (dns:host:port, srv:name), or a token', {
    value: 'ADDRESS|TOKEN',
  }),
  listen: flag.list('link addresses to listen at: :7400, tls://0.0.0.0:7400, unix:/path', { value: 'ADDRESS' }),
  advertise: flag.list('link addresses at which others reach this node, where they differ', { value: 'ADDRESS' }),
  env: flag.list('namespaces of services', { value: 'NAME' }),
  role: flag.text('what the node does for others', {
    value: 'ROLE',
    choices: ['peer', 'client', 'server', 'router'],
    otherwise: 'peer',
  }),
  relay: flag.boolean('whether circuits of others may pass through the node', {
    otherwise: 'true',
    aboutNot: 'let no circuits of others pass through the node',
  }),
  name: flag.text('the name of this machine in the network (else its host name)', { value: 'NAME' }),
  secretFile: flag.text('a file with the secret of a network without members', { value: 'FILE' }),
  identity: flag.text('the file with the key of a node without credentials', { value: 'FILE' }),
  insecure: flag.boolean('permit plain tcp beyond this machine', { otherwise: 'false' }),
  via: flag.text('the proxy to reach the network through: http://user:password@proxy:3128, socks5://proxy:1080', {
    value: 'URL',
  }),
  noProxy: flag.list('hosts to reach without the proxy', { value: 'HOST' }),
  resilience: flag.list('what dials do about instances that fail or are slow', {
    value: 'PART',
    choices: ['retry-budget', 'circuit-breaker', 'outlier-ejection', 'hedge'],
    otherwise: 'none',
  }),
  share: flag.boolean('use the node that runs already with these credentials', {
    otherwise: 'true',
    aboutNot: 'do not use the node that runs already with these credentials',
  }),
  timeout: flag.duration('how long to wait for the network', { value: 'TIME', otherwise: '10s', min: 1 }),
  drainTimeout: flag.duration('how long open streams may go on after SIGTERM', {
    value: 'TIME',
    otherwise: '30s',
    min: 0,
  }),
} as const;

export type NodeFlag = keyof typeof NODE_FLAGS;

/** Those that tell which of the nodes of this machine is meant. */
export const WHICH_NODE: readonly NodeFlag[] = ['credentials', 'join', 'identity'];

/** Returns the flags of nodes that a command takes, by its `usesNode`. */
export function nodeFlagsOf(usesNode: boolean | readonly NodeFlag[] = false): Flags {
  const names = typeof usesNode === 'boolean' ? (usesNode ? Object.keys(NODE_FLAGS) : []) : usesNode;
  return Object.fromEntries(names.map((name) => [name, NODE_FLAGS[name as NodeFlag]]));
}
