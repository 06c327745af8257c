// starlane monitor

import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { codeOf } from '../../errors.js';
import { type Monitor, monitor as openMonitor } from '../../http/monitor/monitor.js';
import { defineCommand } from '../command.js';
import { usage } from '../failure.js';
import { flag, type ValuesOf } from '../flags.js';
import type { NodeWork, Task, TaskHost } from '../run/task.js';
import { useNetwork } from '../run/use-network.js';

const FLAGS = {
  port: flag.integer('the port of the page; 0 takes a free one', { min: 0, max: 65_535, otherwise: '8080' }),
  bind: flag.text('the address of this machine at which to listen', { value: 'HOST', otherwise: '127.0.0.1' }),
  tokenFile: flag.text('a file with what a reader has to know (else a random one, beyond this machine)', {
    value: 'FILE',
  }),
  guestTokenFile: flag.text('a file with the token of guests: they may only ask for what everyone may dial', {
    value: 'FILE',
  }),
  cert: flag.text('the certificate for https, in PEM', { value: 'FILE' }),
  key: flag.text('its key', { value: 'FILE' }),
  plain: flag.boolean('permit http beyond this machine, as behind a proxy with https', { otherwise: 'false' }),
  allowHost: flag.list('names under which the page may be asked for', { value: 'NAME' }),
  maxReaders: flag.integer('how many pages may be open', { min: 1, max: 1_024, otherwise: '32' }),
} as const;

type Values = ValuesOf<typeof FLAGS>;

class MonitorTask implements Task {
  readonly title = 'monitor';
  readonly nodeWork: NodeWork;
  private monitor: Monitor | undefined;

  constructor(private readonly values: Values) {
    this.nodeWork = { command: 'monitor', key: '', values };
  }

  async start({ overlay }: TaskHost): Promise<void> {
    const { port = 8080, bind, tokenFile, guestTokenFile, cert, key, plain, allowHost, maxReaders } = this.values;
    if ((cert === undefined) !== (key === undefined)) throw usage('monitor: --cert and --key belong together');
    if (overlay.node === undefined) throw new Error('the monitor needs the node');
    this.monitor = await openMonitor(overlay.node, {
      port,
      host: bind,
      token: tokenFile === undefined ? undefined : textOf(tokenFile, '--token-file').trim(),
      guestToken: guestTokenFile === undefined ? undefined : textOf(guestTokenFile, '--guest-token-file').trim(),
      tls:
        cert === undefined || key === undefined
          ? undefined
          : { cert: textOf(cert, '--cert'), key: textOf(key, '--key') },
      insecure: plain,
      allowedHosts: allowHost,
      maxReaders,
    });
  }

  /** After a reload without a change of its section, its readers stay. */
  async update(next: Task): Promise<boolean> {
    return next instanceof MonitorTask && isDeepStrictEqual(next.values, this.values);
  }

  async stop(): Promise<void> {
    await this.monitor?.close();
  }

  status(): Record<string, unknown> {
    return { url: this.monitor?.loginUrl };
  }
}

function textOf(path: string, where: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw usage(`${where}: ${path} cannot be read (${codeOf(error)})`);
  }
}

export const monitor = defineCommand({
  name: 'monitor',
  summary: 'serve a page that shows the network, live',
  description: 'Read-only. Beyond this machine it needs a token, which is in the address that it prints.',
  usesNode: true,
  flags: FLAGS,
  examples: [
    { line: 'starlane monitor', about: 'at http://127.0.0.1:8080' },
    { line: 'starlane monitor --bind 0.0.0.0 --cert cert.pem --key key.pem', about: 'for others, with a token' },
  ],
  task: (_key, values) => new MonitorTask(values as Values),
  async run(context, _args, values) {
    const access = await useNetwork(context, { needsLink: true });
    return access.work([new MonitorTask(absolute(values))], ([task]) => {
      const { url } = task.status();
      context.output.json({ url });
      context.output.line(`monitor at ${url}`);
    });
  },
});

/** The process with the node may be in another folder. */
function absolute(values: Values): Values {
  const { tokenFile, guestTokenFile, cert, key } = values;
  return {
    ...values,
    tokenFile: resolved(tokenFile),
    guestTokenFile: resolved(guestTokenFile),
    cert: resolved(cert),
    key: resolved(key),
  };
}

function resolved(path: string | undefined): string | undefined {
  return path === undefined ? undefined : resolve(path);
}
