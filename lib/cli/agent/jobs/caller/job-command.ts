// starlane job: all that can be done with jobs of hosts

import { type Command, defineCommand } from '../../../command.js';
import { usage } from '../../../failure.js';
import { withHost } from '../../hosts.js';
import { stateInWords } from './job-exit.js';
import { jobName, parseJobName } from './job-name.js';
import { jobOutput, jobRun, PATIENCE_FLAG, remoteJob } from './job-run.js';
import { listJobs } from './remote-job.js';

const JOB = { name: 'JOB', about: 'its id: HOST/UUID' } as const;
const HOST = { name: 'HOST', about: 'the name of a member that runs starlane agent, or @ID' } as const;
const ID = 'db-1/01890a5d-ac96-774b-bcce-b302099a8057';
const ASK_MS = 10_000;

function date(ms: number | undefined): string | undefined {
  return ms === undefined ? undefined : new Date(ms).toISOString();
}

const status: Command = defineCommand({
  name: 'job status',
  summary: 'show what has become of a job',
  args: [JOB],
  usesNode: true,
  flags: PATIENCE_FLAG,
  examples: [
    { line: `starlane job status ${ID}`, about: 'whether it runs, or how it has ended' },
    { line: `starlane job status ${ID} --json`, about: 'everything, for programs' },
  ],
  async run(context, [text], { patience }) {
    const { host, id } = parseJobName('job status', text);
    const found = await withHost(context, 'job status', host, (at) => remoteJob(context, at, id, patience).status());
    const { output } = context;
    output.json({ job: text, ...found });
    output.line(`${found.command} ${stateInWords(found)}`);
    output.line(`started   ${date(found.createdMs)} by ${found.owner.name ?? `@${found.owner.id}`}`);
    if (found.endedMs !== undefined) output.line(`ended     ${date(found.endedMs)}`);
    output.line(`output    ${found.outputBytes} bytes`);
    if (found.input) output.line(`input     ${found.inputBytes} bytes${found.inputOpen ? ', open' : ''}`);
    return undefined;
  },
});

const list: Command = defineCommand({
  name: 'job list',
  summary: 'list the jobs of a host: your own, or all with the right for that',
  args: [HOST],
  usesNode: true,
  flags: {},
  examples: [
    { line: 'starlane job list db-1', about: 'those that run, and those that are kept' },
    { line: 'starlane job list db-1 --json', about: 'for programs' },
  ],
  async run(context, [word]) {
    await withHost(context, 'job list', word, async ({ name, client }) => {
      const jobs = (await listJobs(client)).map((job) => ({ job: jobName({ host: name, id: job.id }), ...job }));
      context.output.table(
        jobs,
        {
          job: ({ job }) => job,
          command: ({ command }) => command,
          state: (job) => stateInWords(job),
          started: ({ createdMs }) => date(createdMs),
          by: ({ owner }) => owner.name ?? `@${owner.id}`,
          output: ({ outputBytes }) => outputBytes,
        },
        `no jobs of yours at ${name}`,
      );
    });
    return undefined;
  },
});

interface CommandAnswer {
  readonly name: string;
  readonly params: ReadonlyArray<{ readonly name: string; readonly pattern: string; readonly default?: string }>;
  readonly env: readonly string[];
  readonly stdin: boolean;
}

const commands: Command = defineCommand({
  name: 'job commands',
  summary: 'list the commands that you may start at a host',
  args: [HOST],
  usesNode: true,
  flags: {},
  examples: [
    { line: 'starlane job commands db-1', about: 'with their parameters' },
    { line: 'starlane job commands db-1 --json', about: 'for programs' },
  ],
  async run(context, [word]) {
    await withHost(context, 'job commands', word, async ({ name, client }) => {
      const answer = await client.ask({ method: 'GET', path: '/v1/commands', timeoutMs: ASK_MS });
      context.output.table(
        (answer as { commands: CommandAnswer[] }).commands,
        {
          command: ({ name: command }) => command,
          parameters: ({ params }) =>
            params.map(({ name: param, pattern, default: value }) => `${param}=${value ?? `/${pattern}/`}`).join(' '),
          variables: ({ env }) => env.join(' '),
          input: ({ stdin }) => (stdin ? 'yes' : 'no'),
        },
        `no commands for you at ${name}`,
      );
    });
    return undefined;
  },
});

const cancel: Command = defineCommand({
  name: 'job cancel',
  summary: 'end a job: SIGTERM first, then SIGKILL',
  args: [JOB],
  usesNode: true,
  flags: PATIENCE_FLAG,
  examples: [
    { line: `starlane job cancel ${ID}`, about: 'its output is kept' },
    { line: `starlane job cancel ${ID} && starlane job output ${ID} --follow`, about: 'and wait for its end' },
  ],
  async run(context, [text], { patience }) {
    const { host, id } = parseJobName('job cancel', text);
    const found = await withHost(context, 'job cancel', host, (at) => remoteJob(context, at, id, patience).cancel());
    context.output.json({ job: text, ...found });
    context.output.note(
      found.state === 'ended' ? `it had ended already: ${stateInWords(found)}` : 'it is being cancelled',
    );
    return undefined;
  },
});

const remove: Command = defineCommand({
  name: 'job remove',
  summary: 'remove a job that has ended, with its output',
  args: [JOB],
  usesNode: true,
  flags: PATIENCE_FLAG,
  examples: [
    { line: `starlane job remove ${ID}`, about: 'before its time' },
    { line: `starlane job cancel ${ID} && starlane job remove ${ID}`, about: 'one that runs, when it has ended' },
  ],
  async run(context, [text], { patience }) {
    const { host, id } = parseJobName('job remove', text);
    await withHost(context, 'job remove', host, (at) => remoteJob(context, at, id, patience).remove());
    context.output.json({ job: text, removed: true });
    return undefined;
  },
});

const SUBCOMMANDS = [jobRun, jobOutput, status, list, commands, cancel, remove] as const;

export const job: Command = defineCommand({
  name: 'job',
  summary: 'start and follow commands that hosts declare',
  description: 'Its commands are run, output, status, list, commands, cancel and remove; each has --help.',
  flags: {},
  subcommands: SUBCOMMANDS,
  examples: [
    { line: 'starlane job run db-1 backup --param db=orders', about: 'start, print, and end as it ends' },
    { line: 'starlane job list db-1', about: 'what runs, and what is kept' },
  ],
  async run() {
    throw usage('job: needs run, output, status, list, commands, cancel or remove');
  },
});
