// starlane deploy logs

import { type Command, type Context, defineCommand } from '../../command.js';
import { ExitCode, exitCodeOf, lineOf } from '../../failure.js';
import { flag } from '../../flags.js';
import { printable } from '../../log.js';
import { written } from '../../output.js';
import { DEFAULT_TIMEOUT_MS } from '../../run/network.js';
import { nodeValues } from '../../run/use-network.js';
import { type Host, withHosts } from '../hosts.js';
import { follow } from './follow.js';
import { checkedApp, TO_FLAG } from './options.js';
import { hostsFor, oneOf } from './subcommands.js';

const DEFAULT_TAIL_BYTES = 16 * 1024;
const GIVE_UP_MS = 5 * 60_000;

const FLAGS = {
  ...TO_FLAG,
  follow: flag.boolean('wait for what comes later, also over a cut link', {
    otherwise: 'false',
    short: 'f',
    inFile: false,
  }),
  position: flag.integer('begin at this position in bytes, of one host', { min: 0, inFile: false }),
  tail: flag.integer('begin with the last lines, of up to so many bytes', {
    min: 0,
    otherwise: String(DEFAULT_TAIL_BYTES),
    inFile: false,
  }),
} as const;

export const logs: Command = defineCommand({
  name: 'deploy logs',
  summary: 'print what an app has printed, or follow it',
  description:
    'A position counts the bytes since the first version. The last line on standard error says where the next reading begins.',
  args: [{ name: 'APP', about: 'the name of the app' }],
  usesNode: true,
  flags: FLAGS,
  examples: [
    { line: 'starlane deploy logs web --to host1 --follow', about: 'the last lines, and what comes' },
    { line: 'starlane deploy logs web --to host1 --position 0', about: 'all that the host has kept' },
  ],
  async run(context, [app], { to, follow: follows = false, position, tail = DEFAULT_TAIL_BYTES }) {
    const path = `/v1/apps/${checkedApp(app)}/logs`;
    return withHosts(context, await hostsFor(context, app, to), async (hosts) => {
      if (position !== undefined) oneOf(hosts);
      const aborter = new AbortController();
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => aborter.abort());
      const timeoutMs = nodeValues(context).timeout ?? DEFAULT_TIMEOUT_MS;
      const codes = await Promise.all(
        hosts.map(async (host) => {
          const printer = new Printer(context, host, hosts.length > 1);
          try {
            const end = await follow(host.client, {
              path,
              from: position,
              tailBytes: tail,
              follows,
              timeoutMs,
              giveUpMs: follows ? GIVE_UP_MS : timeoutMs,
              signal: aborter.signal,
              onBytes: (bytes) => printer.print(bytes),
              onGap: (bytes) => context.log.warn(`${host.name}: ${bytes} bytes are not kept any more`),
              onBreak: (error) => context.log.info(`${host.name}: ${lineOf(error)}; asking again`),
            });
            await printer.flush();
            if (end !== undefined) context.output.note(`${host.name}: the next position is ${end}`);
            return ExitCode.OK as number;
          } catch (error) {
            context.log.error(`${host.name}: ${lineOf(error)}`);
            return exitCodeOf(error);
          }
        }),
      );
      return codes.find((code) => code !== ExitCode.OK) ?? ExitCode.OK;
    });
  },
});

/** Prints bytes as they are for one host, and lines with its name in front for several. */
class Printer {
  private rest = '';
  private readonly decoder = new TextDecoder();

  constructor(
    private readonly context: Context,
    private readonly host: Host,
    private readonly isNamed: boolean,
  ) {}

  async print(bytes: Buffer): Promise<void> {
    const { output } = this.context;
    if (!this.isNamed && !output.isJson && !output.isTerminal) return this.write(bytes);
    const lines = (this.rest + this.decoder.decode(bytes, { stream: true })).split('\n');
    this.rest = lines.pop() as string;
    if (lines.length > 0) await this.write(`${lines.map((line) => this.lineFor(line)).join('\n')}\n`);
  }

  async flush(): Promise<void> {
    if (this.rest !== '') await this.write(`${this.lineFor(this.rest)}\n`);
  }

  private lineFor(line: string): string {
    const { name } = this.host;
    if (this.context.output.isJson) return JSON.stringify({ host: name, line });
    // What an app prints must not move the cursor of a terminal.
    const text = this.context.output.isTerminal ? printable(line.replaceAll('\t', '  ')) : line;
    return this.isNamed ? `${name} | ${text}` : text;
  }

  private write(text: string | Buffer): Promise<void> {
    return written(this.context.stdout, text);
  }
}
