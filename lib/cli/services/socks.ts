// starlane socks

import { createServer, type Server, type Socket } from 'node:net';
import { type Command, defineCommand } from '../command.js';
import { ENTRY_FLAGS, EntryTask, type EntryValues } from '../entry/entry-task.js';
import { Greeting } from '../entry/socks/greeting.js';
import { flag } from '../flags.js';
import { shownAddress } from '../local/address.js';
import { useNetwork } from '../run/use-network.js';

const PORT = 1080;
/** After so long without a byte, the kernel asks whether a client is still there. */
const KEEP_ALIVE_MS = 60_000;

const FLAGS = {
  port: flag.integer('the port to listen at; 0 takes a free one', { min: 0, max: 65_535, otherwise: String(PORT) }),
  ...ENTRY_FLAGS,
} as const;

class SocksTask extends EntryTask {
  private readonly greetings = new Set<Greeting>();

  constructor(values: EntryValues) {
    super('socks', PORT, values);
  }

  protected serve(): Server {
    const options = { allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS };
    return createServer(options, (socket) => this.onSocket(socket));
  }

  protected async endRest(): Promise<void> {
    for (const greeting of [...this.greetings]) greeting.destroy();
  }

  private onSocket(socket: Socket): void {
    const { password } = this;
    const greeting = new Greeting(socket, {
      password,
      open: (host, port) => this.open(host, port),
      onOpen: (from, circuit) => this.join(from, circuit),
      onFailed: (error) => this.onFailed(error),
      onDone: (of) => this.greetings.delete(of),
    });
    this.greetings.add(greeting);
  }
}

export const socks: Command = defineCommand({
  name: 'socks',
  summary: 'a SOCKS proxy, whose hosts are the services of the network',
  description: 'Speaks SOCKS5 and SOCKS4a, CONNECT only. The host web or web.starlane is the service web.',
  usesNode: true,
  flags: FLAGS,
  examples: [
    { line: 'starlane socks --port 1080', about: 'then: curl --socks5-hostname localhost:1080 http://web/' },
    { line: 'starlane socks --direct', about: 'for a browser: what is no service goes its usual way' },
  ],
  task: (_key, values) => new SocksTask(values as EntryValues),
  async run(context, _args, values) {
    const task = new SocksTask(values as EntryValues);
    const access = await useNetwork(context, { needsLink: true, isLeaf: true });
    return access.work([task], () => {
      const at = task.listening === undefined ? '' : shownAddress(task.listening);
      context.output.json({ node: access.overlay.id, listen: at });
      context.output.line(`SOCKS at ${at}`);
    });
  },
});
