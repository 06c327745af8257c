// What `publish` is asked for: its flags, and what they mean together.

import { createServer } from 'node:net';
import { parseServiceAddress } from '../../../address.js';
import { usage } from '../../failure.js';
import { flag, pairOf, type ValuesOf } from '../../flags.js';
import { type Probe, probeOf } from './probe.js';
import type { ProgramCommand } from './process-group.js';
import type { ProxyVersion } from './proxy-header.js';
import type { RestartPolicy } from './restarts.js';

export const PUBLISH_FLAGS = {
  port: flag.integer(
    'the port of this machine where the program listens; 0 finds a free one for the program behind --',
    {
      min: 0,
      max: 65_535,
    },
  ),
  host: flag.text('the host where the program listens', { value: 'HOST', otherwise: '127.0.0.1' }),
  unix: flag.text('the unix socket where the program listens', { value: 'PATH' }),
  mcp: flag.boolean(
    'run the MCP server behind -- once for each caller, and talk to it over its standard input and output',
  ),
  command: flag.text('the program, as a line for the shell, instead of one behind --', { value: 'LINE' }),
  restart: flag.text('when to start the program again', {
    value: 'WHEN',
    choices: ['always', 'on-failure', 'never'],
    otherwise: 'always',
  }),
  stopTimeout: flag.duration('the time that the program has to end after SIGTERM', { otherwise: '10s', min: 0 }),
  passEnv: flag.list('variables STARLANE_… that the program gets, which it does not by default', { value: 'NAME' }),
  maxProcesses: flag.integer('how many MCP servers may run at a time', { min: 1, max: 10_000, otherwise: '16' }),
  check: flag.text(
    'check the service, and publish it only while it is healthy: tcp, a path such as /health, a URL, or none',
    {
      value: 'CHECK',
      otherwise: 'tcp with a program, else none',
    },
  ),
  checkStatus: flag.text('the status that is healthy', { value: 'STATUS', otherwise: '200-399' }),
  interval: flag.duration('the time between checks', { otherwise: '5s', min: 10, max: 86_400_000 }),
  timeout: flag.duration('how long a check may take (the wait for the network is STARLANE_TIMEOUT here)', {
    otherwise: '2s',
    min: 1,
    max: 3_600_000,
  }),
  rise: flag.integer('so many good checks in a row make it healthy again', { min: 1, max: 1_000, otherwise: '2' }),
  fall: flag.integer('so many bad checks in a row make it unhealthy', { min: 1, max: 1_000, otherwise: '3' }),
  proxyProtocol: flag.text('send a header of the PROXY protocol first, which names the caller', {
    value: 'VERSION',
    choices: ['v1', 'v2'],
  }),
  weight: flag.integer('the share of dials, relative to other instances; 0 as the last resort', {
    min: 0,
    max: 255,
    otherwise: '1',
  }),
  instance: flag.text('the name of this instance, which is dialled as INSTANCE.NAME', { value: 'INSTANCE' }),
  meta: flag.list('what others see with the service', { value: 'KEY=VALUE' }),
  allow: flag.list('names of members that may dial, with asterisks', { value: 'PATTERN', otherwise: 'everyone' }),
  allowTag: flag.list('tags of members that may dial, with asterisks', { value: 'PATTERN', otherwise: 'everyone' }),
  invite: flag.boolean('print a token for another machine; by default, only for a new network', {
    otherwise: 'false',
    inFile: false,
  }),
} as const;

export type PublishValues = ValuesOf<typeof PUBLISH_FLAGS>;

/** How the service is bound. */
export interface BindTerms {
  readonly weight: number | undefined;
  readonly meta: Readonly<Record<string, string>> | undefined;
  readonly instance: string | undefined;
  readonly allow: readonly string[] | undefined;
  readonly allowTag: readonly string[] | undefined;
}

export interface CheckTerms {
  readonly name: string;
  readonly status: string | undefined;
  readonly probe: Probe;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly rise: number;
  readonly fall: number;
}

export interface RunTerms {
  readonly command: ProgramCommand;
  readonly restart: RestartPolicy;
  readonly stopTimeoutMs: number;
  readonly passEnv: readonly string[];
}

export interface PublishOptions {
  readonly name: string;
  readonly bind: BindTerms;
  /** Undefined for MCP servers; its port is 0 when it is to be found. */
  readonly target: { readonly host: string; readonly port: number; readonly unix: string | undefined } | undefined;
  readonly program: RunTerms | undefined;
  readonly check: CheckTerms | undefined;
  readonly proxyProtocol: ProxyVersion | undefined;
  readonly maxProcesses: number;
}

/** @param behind what comes behind `--` @throws Failure */
export function publishOptions(
  name: string,
  values: PublishValues,
  behind: readonly string[] | undefined,
): PublishOptions {
  const where = `publish ${name}`;
  const { port, unix, host, mcp, command } = values;
  if (parseServiceAddress(name).kind !== 'service') throw usage(`${where}: needs the name of a service`);
  if (behind !== undefined && behind.length === 0) throw usage(`${where}: there is no program behind --`);
  if (behind !== undefined && command !== undefined) throw usage(`${where}: --command and -- are two programs`);
  const given = behind ?? command;
  if (given === undefined) {
    const needing = (['restart', 'stopTimeout', 'passEnv'] as const).find((flagName) => values[flagName] !== undefined);
    if (needing !== undefined || mcp === true)
      throw usage(`${where}: needs a program, such as: starlane ${where} … -- node server.js`);
  }
  if (port !== undefined && unix !== undefined) throw usage(`${where}: --port and --unix are two places`);
  if (mcp === true) {
    const misplaced = (['port', 'unix', 'host', 'check', 'proxyProtocol', 'restart'] as const).find(
      (flagName) => values[flagName] !== undefined,
    );
    if (misplaced !== undefined)
      throw usage(`${where}: --mcp runs one program for each caller, and has no ${misplaced}`);
  } else if (port === undefined && unix === undefined && given === undefined) {
    throw usage(`${where}: needs --port, --unix, or a program behind --`);
  }
  if (port === 0 && given === undefined)
    throw usage(`${where}: --port 0 is for a program behind --, which learns its port`);
  return {
    name,
    bind: {
      weight: values.weight,
      meta: metaOf(values.meta, where),
      instance: values.instance,
      allow: values.allow,
      allowTag: values.allowTag,
    },
    target: mcp === true ? undefined : { host: host ?? '127.0.0.1', port: port ?? 0, unix },
    program:
      given === undefined
        ? undefined
        : {
            command: given,
            restart: (values.restart ?? 'always') as RestartPolicy,
            stopTimeoutMs: values.stopTimeout ?? 10_000,
            passEnv: values.passEnv ?? [],
          },
    check: mcp === true ? undefined : checkOf(values, given !== undefined, where),
    proxyProtocol: values.proxyProtocol as ProxyVersion | undefined,
    maxProcesses: values.maxProcesses ?? 16,
  };
}

function checkOf(values: PublishValues, hasProgram: boolean, where: string): CheckTerms | undefined {
  const { checkStatus, check = hasProgram || checkStatus !== undefined ? 'tcp' : 'none' } = values;
  if (check === 'none') {
    const needing = (['interval', 'timeout', 'rise', 'fall', 'checkStatus'] as const).find(
      (flagName) => values[flagName] !== undefined,
    );
    if (needing === 'timeout') {
      throw usage(
        `${where}: --timeout is that of --check here, which is missing; for the network, set STARLANE_TIMEOUT`,
      );
    }
    if (needing !== undefined) throw usage(`${where}: needs --check, such as --check tcp or --check /health`);
    return undefined;
  }
  return {
    name: check,
    status: checkStatus,
    probe: probeOf(check, checkStatus, where),
    intervalMs: values.interval ?? 5_000,
    timeoutMs: values.timeout ?? 2_000,
    rise: values.rise ?? 2,
    fall: values.fall ?? 3,
  };
}

/** Returns what `--meta KEY=VALUE` says. @throws Failure */
export function metaOf(given: readonly string[] | undefined, where: string): Record<string, string> | undefined {
  if (given === undefined || given.length === 0) return undefined;
  return Object.fromEntries(given.map((text) => pairOf(`${where}: --meta`, text, 'KEY=VALUE')));
}

/** Returns a port at which nothing listens. */
export function freePort(host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, host, () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

/** Returns the command with `{port}` and `{unix}` replaced. */
export function filledIn(command: ProgramCommand, port: number, unix: string | undefined): ProgramCommand {
  const fill = (text: string) => text.replaceAll('{port}', String(port)).replaceAll('{unix}', unix ?? '');
  return typeof command === 'string' ? fill(command) : command.map(fill);
}
