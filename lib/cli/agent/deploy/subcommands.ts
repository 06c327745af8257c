// starlane deploy status, start, stop, restart, rollback and remove: one request to each of several hosts, and a table of the answers.

import { type Command, type Context, defineCommand } from '../../command.js';
import { ExitCode, exitCodeOf, Failure, lineOf } from '../../failure.js';
import { flag } from '../../flags.js';
import type { Activation, AppStatus } from '../apps/app.js';
import { type Host, withHosts } from '../hosts.js';
import { checkedApp, TO_FLAG } from './options.js';
import { plainError } from './rollout.js';

const ASK_MS = 30_000;
/** For what stops and starts an app, and waits until it is healthy: the most that a bundle may ask for, and the stop before. */
const CHANGE_MS = 18 * 60_000;

const APP = { name: 'APP', about: 'the name of the app' } as const;

/** Returns the hosts of the flag, else those of the entry in the file. */
export async function hostsFor(
  context: Context,
  app: string | undefined,
  to: readonly string[] | undefined,
): Promise<readonly string[] | undefined> {
  if (to !== undefined || app === undefined) return to;
  const { deploy } = await import('./deploy.js');
  return context.config.fileValuesOf(deploy, app)['to'] as readonly string[] | undefined;
}

interface Answered<Answer> {
  readonly host: Host;
  readonly answer?: Answer;
  readonly error?: Error;
}

/** Asks all hosts. An error of one is part of its row. */
async function askAll<Answer>(
  hosts: readonly Host[],
  ask: (host: Host) => Promise<Answer>,
): Promise<ReadonlyArray<Answered<Answer>>> {
  return Promise.all(
    hosts.map(async (host) => {
      try {
        return { host, answer: await ask(host) };
      } catch (error) {
        return { host, error: error as Error };
      }
    }),
  );
}

/** Returns the exit code: 0 when every host has answered. */
function codeFor(answers: ReadonlyArray<Answered<unknown>>): number {
  const [error] = answers.flatMap((answer) => answer.error ?? []);
  return error === undefined ? ExitCode.OK : exitCodeOf(error);
}

interface StatusRow {
  readonly host: string;
  readonly id: string;
  readonly app?: AppStatus | undefined;
  readonly error?: ReturnType<typeof plainError>;
}

function statusRows(answers: ReadonlyArray<Answered<readonly AppStatus[]>>): StatusRow[] {
  return answers.flatMap(({ host, answer, error }): StatusRow[] => {
    const row = { host: host.name, id: host.client.nodeId };
    if (error !== undefined) return [{ ...row, error: plainError(error) }];
    return (answer ?? []).map((app) => ({ ...row, app }));
  });
}

function showStatus({ output }: Context, rows: readonly StatusRow[]): void {
  if (output.isJson) {
    output.json(
      rows.map(({ host, id, app, error }) => ({ host, id, ...app, ...(error === undefined ? {} : { error }) })),
    );
    return;
  }
  output.table(
    rows,
    {
      host: ({ host }) => host,
      app: ({ app }) => app?.app,
      state: ({ app, error }) => (error === undefined ? app?.state : 'unknown'),
      version: ({ app }) => app?.version,
      number: ({ app }) => app?.number,
      pid: ({ app }) => app?.pid,
      restarts: ({ app }) => app?.restarts,
      services: ({ app }) => app?.services.map(({ name, state }) => `${name} ${state}`).join(', '),
      fault: ({ app, error }) => error?.message ?? app?.fault,
    },
    'No app is there, or none that you may see.',
  );
}

export const deployStatus: Command = defineCommand({
  name: 'deploy status',
  summary: 'show the apps of hosts',
  args: [{ ...APP, isOptional: true }],
  usesNode: true,
  flags: TO_FLAG,
  examples: [
    { line: 'starlane deploy status --to host1,host2', about: 'all apps of two hosts' },
    { line: 'starlane deploy status web --to tag:web --json', about: 'one app, with its versions, for programs' },
  ],
  async run(context, [app], { to }) {
    return withHosts(context, await hostsFor(context, app, to), async (hosts) => {
      const answers = await askAll(hosts, async ({ client }) => {
        if (app !== undefined)
          return [
            (await client.ask({ method: 'GET', path: `/v1/apps/${checkedApp(app)}`, timeoutMs: ASK_MS })) as AppStatus,
          ];
        return ((await client.ask({ method: 'GET', path: '/v1/apps', timeoutMs: ASK_MS })) as { apps: AppStatus[] })
          .apps;
      });
      showStatus(context, statusRows(answers));
      return codeFor(answers);
    });
  },
});

/** Returns a command that changes one app at several hosts, and shows its status then. */
function change(name: 'start' | 'stop' | 'restart', summary: string, about: string): Command {
  return defineCommand({
    name: `deploy ${name}`,
    summary,
    args: [APP],
    usesNode: true,
    flags: TO_FLAG,
    examples: [
      { line: `starlane deploy ${name} web --to host1`, about },
      { line: `starlane deploy ${name} web --to tag:web --json`, about: 'at all hosts with a tag, for programs' },
    ],
    async run(context, [app], { to }) {
      return withHosts(context, await hostsFor(context, app, to), async (hosts) => {
        const path = `/v1/apps/${checkedApp(app)}/${name}`;
        const answers = await askAll(hosts, async ({ client }) => [
          (await client.ask({ method: 'POST', path, timeoutMs: CHANGE_MS })) as AppStatus,
        ]);
        showStatus(context, statusRows(answers));
        return codeFor(answers);
      });
    },
  });
}

export const start = change('start', 'start an app that was stopped', 'and wait until it is healthy');
export const stop = change('stop', 'stop an app, until it is started', 'its versions and its data stay');
export const restart = change('restart', 'stop an app, and start it', 'and wait until it is healthy');

export const rollback: Command = defineCommand({
  name: 'deploy rollback',
  summary: 'run a version again that the host has kept',
  args: [APP],
  usesNode: true,
  flags: {
    ...TO_FLAG,
    number: flag.integer('the number of the version', { otherwise: 'that of the one before', min: 1, inFile: false }),
  },
  examples: [
    { line: 'starlane deploy rollback web --to host1', about: 'to the version before' },
    {
      line: 'starlane deploy rollback web --to host1 --number 1767225600000',
      about: 'to one that deploy status shows',
    },
  ],
  async run(context, [app], { to, number }) {
    return withHosts(context, await hostsFor(context, app, to), async (hosts) => {
      const query = number === undefined ? '' : `?number=${number}`;
      const path = `/v1/apps/${checkedApp(app)}/activate${query}`;
      const answers = await askAll(
        hosts,
        async ({ client }) => (await client.ask({ method: 'POST', path, timeoutMs: CHANGE_MS })) as Activation,
      );
      showEnds(context, answers, ({ version, number, changed }) => ({
        state: changed ? 'rolled back' : 'unchanged',
        version,
        number,
      }));
      return codeFor(answers);
    });
  },
});

export const remove: Command = defineCommand({
  name: 'deploy remove',
  summary: 'remove an app with its versions and logs',
  args: [APP],
  usesNode: true,
  flags: { ...TO_FLAG, data: flag.boolean('remove its data folder as well', { otherwise: 'false', inFile: false }) },
  examples: [
    { line: 'starlane deploy remove web --to host1', about: 'its data folder stays' },
    {
      line: 'starlane deploy remove web --to tag:web --data',
      about: 'and nothing stays but the number of its last version',
    },
  ],
  async run(context, [app], { to, data }) {
    return withHosts(context, await hostsFor(context, app, to), async (hosts) => {
      const path = `/v1/apps/${checkedApp(app)}?data=${data === true}`;
      const answers = await askAll(
        hosts,
        async ({ client }) =>
          (await client.ask({ method: 'DELETE', path, timeoutMs: CHANGE_MS })) as { removed: boolean; data: string },
      );
      showEnds(context, answers, ({ data: kept }) => ({ state: 'removed', data: kept }));
      return codeFor(answers);
    });
  },
});

/** Shows what each host has answered, or its error. */
function showEnds<Answer>(
  { output }: Context,
  answers: ReadonlyArray<Answered<Answer>>,
  shown: (answer: Answer) => Readonly<Record<string, unknown>>,
): void {
  const rows = answers.map(({ host, answer, error }) => ({
    host: host.name,
    id: host.client.nodeId,
    ...(answer === undefined ? { state: 'failed' } : shown(answer)),
    ...(error === undefined ? {} : { error: output.isJson ? plainError(error) : lineOf(error) }),
  })) as ReadonlyArray<Readonly<Record<string, unknown>>>;
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))].filter((name) => name !== 'id');
  output.table(rows, Object.fromEntries(columns.map((name) => [name, (row) => row[name]])), 'No host was named.');
}

/** @throws Failure when more or less than one host is named */
export function oneOf(hosts: readonly Host[]): Host {
  if (hosts.length === 1) return hosts[0];
  throw new Failure(`--to: must name one host here, not ${hosts.length}`, ExitCode.USAGE);
}
