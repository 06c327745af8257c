// All subcommands. Each is loaded when it is needed: starting one must not read the code of the others.

import type { Command } from './command.js';

export interface CatalogEntry {
  readonly name: string;
  readonly group: string;
  readonly summary: string;
  load(): Promise<Command>;
}

const NETWORK = 'Networks and members:';
const SERVICES = 'Services:';
const SHELL = 'Shell:';

function entry(group: string, name: string, summary: string, load: () => Promise<Command>): CatalogEntry {
  return { name, group, summary, load };
}

export const CATALOG: readonly CatalogEntry[] = [
  entry(
    SERVICES,
    'publish',
    'offer a port of this machine as a service',
    async () => (await import('./services/publish/publish.js')).publish,
  ),
  entry(
    SERVICES,
    'forward',
    'make services of the network ports of this machine',
    async () => (await import('./services/forward.js')).forward,
  ),
  entry(
    SERVICES,
    'mcp',
    'use an MCP server of the network, over standard input and output',
    async () => (await import('./services/mcp.js')).mcp,
  ),
  entry(
    SERVICES,
    'socks',
    'a SOCKS proxy, whose hosts are the services of the network',
    async () => (await import('./services/socks.js')).socks,
  ),
  entry(
    SERVICES,
    'proxy',
    'an HTTP proxy, whose hosts are the services of the network',
    async () => (await import('./services/proxy.js')).proxy,
  ),
  entry(
    SERVICES,
    'connect',
    'connect standard input and output with a service',
    async () => (await import('./services/connect.js')).connect,
  ),
  entry(
    NETWORK,
    'up',
    'run a node, and everything that the configuration file asks for',
    async () => (await import('./network/up.js')).up,
  ),
  entry(
    NETWORK,
    'init',
    'make a network, with this machine as its first member',
    async () => (await import('./network/init.js')).init,
  ),
  entry(
    NETWORK,
    'invite',
    'make a token for another machine',
    async () => (await import('./network/invite.js')).invite,
  ),
  entry(
    NETWORK,
    'join',
    'make this machine a member, with a token',
    async () => (await import('./network/join.js')).join,
  ),
  entry(
    NETWORK,
    'members',
    'list the members of the network',
    async () => (await import('./network/members.js')).members,
  ),
  entry(
    NETWORK,
    'revoke',
    'take the membership of a machine, for good',
    async () => (await import('./network/revoke.js')).revoke,
  ),
  entry(
    NETWORK,
    'status',
    'show what the node of this machine does',
    async () => (await import('./network/status.js')).status,
  ),
  entry(
    SHELL,
    'completion',
    'print a script that completes commands and flags in your shell',
    async () => (await import('./shell/completion.js')).completion,
  ),
];

let loaded: Promise<readonly Command[]> | undefined;

/** Loads all of them, for the schema of the file and for completion. */
export function loadCommands(): Promise<readonly Command[]> {
  loaded ??= loadAll();
  return loaded;
}

async function loadAll(): Promise<readonly Command[]> {
  const commands: Command[] = [];
  // One after the other: most of what they import is the same.
  for (const of of CATALOG) commands.push(await of.load());
  return commands;
}
