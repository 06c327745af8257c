// starlane forward

import { type Command, type Context, defineCommand } from '../command.js';
import { usage } from '../failure.js';
import { flag } from '../flags.js';
import { hostOf, portOf, shownAddress } from '../local/address.js';
import type { Task } from '../run/task.js';
import { useNetwork } from '../run/use-network.js';
import { ForwardTask, type ForwardValues, MAX_CONNECTIONS } from './forward-task.js';
import { publish } from './publish/publish.js';

const FLAGS = {
  bind: flag.text('the address of this machine at which to listen, where a port has none in front', {
    value: 'HOST',
    otherwise: '127.0.0.1',
  }),
  reverse: flag.list('the other way round: a port that this machine can reach, as a service, like publish', {
    value: 'SERVICE:HOST:PORT',
    short: 'R',
    inFile: false,
  }),
  sticky: flag.text('what the instance of a service follows: the address of the client', { choices: ['ip'] }),
  maxConnections: flag.integer('how many connections may be open at a port', {
    min: 1,
    otherwise: String(MAX_CONNECTIONS),
  }),
  idleTimeout: flag.duration('ends connections that are silent for so long', { min: 100, otherwise: 'never' }),
} as const;

/** Returns the task that offers what `--reverse` names: SERVICE:HOST:PORT, SERVICE:PORT:HOST:PORT, SERVICE:PORT, or SERVICE:/path. */
function reverseTask(text: string, context: Context): Task {
  const fault = () =>
    usage(`--reverse ${text}: must be SERVICE:HOST:PORT, SERVICE:PORT or SERVICE:/path, such as web:localhost:3000`);
  const colon = text.indexOf(':');
  if (colon < 1) throw fault();
  let name = text.slice(0, colon);
  let where = text.slice(colon + 1);
  if (/^(?:unix:)?(?:\/|\.{1,2}\/|\\\\)/.test(where)) {
    return publish.task?.(name, { unix: where.replace(/^unix:/, '') } as never, context) as Task;
  }
  const virtual = /^(\d+):(?=.*:)(.+)$/.exec(where);
  if (virtual !== null) [name, where] = [`${name}:${virtual[1]}`, virtual[2]];
  const match = /^(?:(.*):)?(\d+)$/.exec(where);
  const host = match?.[1] === undefined ? '127.0.0.1' : hostOf(match[1]);
  const port = portOf(match?.[2] ?? '');
  if (host === undefined || host === '*' || !port) throw fault();
  return publish.task?.(name, { host, port } as never, context) as Task;
}

export const forward: Command = defineCommand({
  name: 'forward',
  summary: 'make services of the network ports of this machine',
  description:
    'PORT may be HOST:PORT, [IPv6]:PORT or the path of a unix socket; port 0 takes a free one. SERVICE may be NAME, NAME:PORT or @ID:PORT.',
  args: [{ name: 'PORT:SERVICE', about: 'where to listen, and the service', isOptional: true, isVariadic: true }],
  usesNode: true,
  section: 'entries',
  flags: FLAGS,
  examples: [
    { line: 'starlane forward 6379:redis 5432:db', about: 'two services' },
    { line: 'starlane forward 3001:web --join TOKEN', about: 'on a machine that is no member yet' },
    { line: 'starlane forward /run/user/1000/db.sock:db', about: 'at a unix socket of this user' },
    { line: 'starlane forward -R web:localhost:3000', about: 'the other way round, as ssh -R' },
  ],
  task: (spec, values) => new ForwardTask(spec, values as ForwardValues),
  async run(context, specs, { reverse = [] }) {
    if (specs.length + (reverse as readonly string[]).length === 0)
      throw usage('forward: needs PORT:SERVICE, such as 6379:redis');
    const forwards = specs.map(
      (spec) => new ForwardTask(spec, context.config.valuesOf(forward, spec) as ForwardValues),
    );
    const titles = new Set(forwards.map(({ title }) => title));
    if (titles.size < forwards.length) throw usage('forward: one address of this machine twice');
    const offered = (reverse as readonly string[]).map((text) => reverseTask(text, context));
    // Others may use the node to offer something.
    const access = await useNetwork(context, { needsLink: true, isLeaf: offered.length === 0 });
    return access.work([...forwards, ...offered], () => {
      const { output } = context;
      const lines = forwards.map(({ listening, target }) => ({
        listen: listening === undefined ? '' : shownAddress(listening),
        to: target,
      }));
      output.json({ node: access.overlay.id, forwards: lines, reverse });
      for (const { listen, to } of lines) output.line(`forwarding ${listen} to ${to}`);
      for (const text of reverse as readonly string[]) output.line(`offering ${text}`);
    });
  },
});
