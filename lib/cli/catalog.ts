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
const HOSTS = 'Hosts:';
const INSPECT = 'Looking around:';
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
    'export',
    'offer a service of one network in another one',
    async () => (await import('./services/export/export.js')).exportCommand,
  ),
  entry(
    SERVICES,
    'gateway',
    'let HTTP clients outside reach services, by host and path',
    async () => (await import('./services/gateway.js')).gateway,
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
    SERVICES,
    'api',
    'show an API of the network, or serve its commands as tools',
    async () => (await import('./apis/api.js')).api,
  ),
  entry(SERVICES, 'call', 'call a command of an API', async () => (await import('./apis/call.js')).call),
  entry(
    NETWORK,
    'up',
    'run a node, and what the configuration file asks for',
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
    HOSTS,
    'agent',
    'let others deploy apps and start jobs on this machine, by rules',
    async () => (await import('./agent/agent.js')).agent,
  ),
  entry(
    HOSTS,
    'deploy',
    'run an app on hosts that have an agent, and follow it',
    async () => (await import('./agent/deploy/deploy.js')).deploy,
  ),
  entry(
    HOSTS,
    'job',
    'start and follow commands that hosts declare',
    async () => (await import('./agent/jobs/caller/job-command.js')).job,
  ),
  entry(
    INSPECT,
    'services',
    'list the services of the network',
    async () => (await import('./inspect/services.js')).services,
  ),
  entry(INSPECT, 'nodes', 'list the nodes of the network', async () => (await import('./inspect/nodes.js')).nodes),
  entry(
    INSPECT,
    'routes',
    'list how other nodes are reached',
    async () => (await import('./inspect/routes.js')).routes,
  ),
  entry(INSPECT, 'links', 'list the links of a node', async () => (await import('./inspect/links.js')).links),
  entry(
    INSPECT,
    'streams',
    'list the open streams of a node, or those that hang',
    async () => (await import('./inspect/streams.js')).streams,
  ),
  entry(
    INSPECT,
    'watch',
    'print links, services and warnings as they come and go',
    async () => (await import('./inspect/watch.js')).watch,
  ),
  entry(
    INSPECT,
    'ping',
    'measure the round trip to a node or a service',
    async () => (await import('./inspect/ping.js')).ping,
  ),
  entry(
    INSPECT,
    'trace',
    'show the path of a dial, and the share of each hop',
    async () => (await import('./inspect/trace.js')).trace,
  ),
  entry(
    INSPECT,
    'top',
    'show links and streams by their traffic, again and again',
    async () => (await import('./inspect/top.js')).top,
  ),
  entry(
    INSPECT,
    'monitor',
    'serve a page that shows the network, live',
    async () => (await import('./services/monitor.js')).monitor,
  ),
  entry(
    INSPECT,
    'metrics',
    'serve metrics for Prometheus, and health for probes',
    async () => (await import('./services/metrics.js')).metrics,
  ),
  entry(
    INSPECT,
    'bench',
    'measure how fast a service or a node is reached',
    async () => (await import('./inspect/bench.js')).bench,
  ),
  entry(
    INSPECT,
    'doctor',
    'look for what is wrong here, and on the way to others',
    async () => (await import('./inspect/doctor.js')).doctor,
  ),
  entry(
    SHELL,
    'completion',
    'print a script for completion in your shell',
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
