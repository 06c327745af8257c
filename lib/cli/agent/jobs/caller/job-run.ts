// starlane job run, starlane job output

import { fstatSync } from 'node:fs';
import { v7 as uuid } from 'uuid';
import { codeOf } from '../../../../errors.js';
import { type Command, type Context, defineCommand } from '../../../command.js';
import { Failure, lineOf, usage } from '../../../failure.js';
import { flag, pairOf } from '../../../flags.js';
import { written } from '../../../output.js';
import { type Host, withHost } from '../../hosts.js';
import { FrameKind } from '../frames.js';
import type { JobStatus } from '../record.js';
import { sendInput } from './input-sender.js';
import { exitCodeFor, JobExit, stateInWords } from './job-exit.js';
import { jobName, parseJobName } from './job-name.js';
import { RemoteJob } from './remote-job.js';

export const PATIENCE_FLAG = {
  patience: flag.duration('how long the host may be gone', { value: 'TIME', otherwise: '30s', min: 1 }),
} as const;
const DEFAULT_PATIENCE_MS = 30_000;

const RUN_FLAGS = {
  param: flag.list('a parameter of the command: NAME=VALUE', {
    short: 'p',
    value: 'PARAM',
    isWhole: true,
    inFile: false,
  }),
  set: flag.list('a variable for the command, where it takes that: NAME=VALUE', {
    value: 'VARIABLE',
    isWhole: true,
    inFile: false,
  }),
  detach: flag.boolean('print the id of the job, and do not wait for it', { short: 'd' }),
  stdin: flag.boolean('send standard input', { otherwise: 'if it is no terminal' }),
  ...PATIENCE_FLAG,
} as const;

const OUTPUT_FLAGS = {
  from: flag.integer('the position to begin at, in bytes of output', { value: 'POSITION', min: 0, otherwise: '0' }),
  follow: flag.boolean('wait for more until the job has ended, and end as it has', { short: 'f' }),
  ...PATIENCE_FLAG,
} as const;

/** Returns the job at its host, with notes when the host comes and goes. */
export function remoteJob(context: Context, host: Host, id: string, patienceMs = DEFAULT_PATIENCE_MS): RemoteJob {
  const { log } = context;
  // The output and the input may both notice.
  let away = 0;
  return new RemoteJob(host.client, id, {
    hostName: host.name,
    patienceMs,
    onAway: (why) => {
      if (away++ === 0)
        log.warn(`${host.name} is gone, and the state of its job unknown (${lineOf(why)}); waiting for it`);
    },
    onBack: () => {
      if (--away === 0) log.warn(`${host.name} is back`);
    },
  });
}

/** Prints the output, and returns the exit code when the job has ended. @throws Failure */
async function printOutput(
  context: Context,
  job: RemoteJob,
  name: string,
  from: number,
  isFollowed: boolean,
): Promise<JobStatus> {
  const { output, stdout, log } = context;
  let position = from;
  try {
    const status = await job.follow(from, isFollowed, async (kind, data, next) => {
      const isError = kind === FrameKind.STDERR;
      if (output.isJson)
        output.json({ stream: isError ? 'stderr' : 'stdout', position, base64: data.toString('base64') });
      const stream = isError ? process.stderr : stdout;
      if (!output.isJson) await written(stream, data);
      position = next;
    });
    output.json({ job: name, ...status });
    return status;
  } catch (error) {
    if (codeOf(error) === 'ERR_STARLANE_JOB_UNKNOWN') {
      log.warn(`to go on: starlane job output ${name} --from ${position} --follow`);
    }
    throw error;
  }
}

/** Ends as the job has ended. */
function endAs(context: Context, status: JobStatus): number {
  const { kind } = status.end ?? {};
  if (kind !== 'exited') context.log.error(`the job ${stateInWords(status)}`);
  return exitCodeFor(status);
}

/** Failures have codes of their own: the others are those of the program. */
async function withJobExit(work: () => Promise<number>): Promise<number> {
  try {
    return await work();
  } catch (error) {
    const code = codeOf(error);
    const exitCode =
      code === 'ERR_STARLANE_JOB_UNKNOWN'
        ? JobExit.UNKNOWN
        : code === 'ERR_STARLANE_JOB_LOST'
          ? JobExit.LOST
          : JobExit.FAILED;
    throw new Failure(lineOf(error), exitCode, { cause: error });
  }
}

/** Whether standard input has something to send: no terminal, and no device without content. */
function hasInput({ stdin }: Context): boolean {
  if (stdin.isTTY) return false;
  try {
    const stat = fstatSync(0);
    return stat.isFile() || stat.isFIFO() || stat.isSocket();
  } catch {
    return false;
  }
}

/** Returns `NAME=VALUE` texts as an object. @throws Failure */
function pairs(where: string, texts: readonly string[] = []): Record<string, string> {
  const found = new Map<string, string>();
  for (const text of texts) {
    const [name, value] = pairOf(where, text);
    if (found.has(name)) throw usage(`${where}: has ${name} twice`);
    found.set(name, value);
  }
  return Object.fromEntries(found);
}

export const jobRun: Command = defineCommand({
  name: 'job run',
  summary: 'start a job at a host, and print what it prints',
  description:
    'Sends standard input, keeps standard output and standard error apart, and ends with the exit code of the program. A lost link costs nothing. Ctrl-C cancels the job.',
  args: [
    { name: 'HOST', about: 'the name of a member that runs starlane agent, or @ID' },
    { name: 'COMMAND', about: 'a command that the host declares' },
  ],
  usesNode: true,
  flags: RUN_FLAGS,
  examples: [
    { line: 'starlane job run db-1 backup --param db=orders', about: 'start, print, and end as it ends' },
    { line: 'starlane job run db-1 restore < dump.sql', about: 'with input' },
    { line: 'starlane job run db-1 backup --param db=orders --detach', about: 'print the id and leave' },
  ],
  async run(context, [word, command], values) {
    const request = {
      command,
      params: pairs('--param', values.param),
      env: pairs('--set', values.set),
      input: values.stdin ?? hasInput(context),
    };
    return withJobExit(() =>
      withHost(context, 'job run', word, async (host) => {
        const id = uuid();
        const name = jobName({ host: host.name, id });
        const { output, log, stdin } = context;
        const job = remoteJob(context, host, id, values.patience);
        // A signal that comes while the host starts it ends it as well: the cancel follows the start.
        const submitted = job.submit(request);
        const interrupted =
          values.detach === true ? () => undefined : onInterrupt(() => submitted.then(() => job.cancel()));
        const status = await submitted;
        if (request.input && !status.input && values.stdin === true)
          log.warn(`${command} takes no input; standard input is not read`);
        const input = status.input ? sendInput(stdin, job) : undefined;
        if (values.detach === true) {
          await input;
          output.line(name);
          output.json({ job: name, ...status });
          return undefined;
        }
        const printed = printOutput(context, job, name, 0, true);
        // The program may end before its input; what the input fails with counts only as long as it runs.
        const failed = new Promise<never>((_resolve, reject) => input?.catch(reject));
        const ended = await Promise.race([printed, failed]);
        stdin.destroy();
        const code = endAs(context, ended);
        return interrupted() ?? code;
      }).then((code) => code ?? 0),
    );
  },
});

/** Cancels the job with the first signal; the second one ends this process. Returns the exit code of the signal that came. */
function onInterrupt(cancel: () => Promise<unknown>): () => number | undefined {
  let code: number | undefined;
  for (const [signal, of] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    process.on(signal, () => {
      if (code !== undefined) process.exit(of);
      code = of;
      cancel().catch(() => process.exit(of));
    });
  }
  return () => code;
}

export const jobOutput: Command = defineCommand({
  name: 'job output',
  summary: 'print what a job has printed, and what it prints',
  args: [{ name: 'JOB', about: 'its id: HOST/UUID' }],
  usesNode: true,
  flags: OUTPUT_FLAGS,
  examples: [
    { line: 'starlane job output db-1/01890a5d-ac96-774b-bcce-b302099a8057', about: 'all that is there' },
    {
      line: 'starlane job output db-1/01890a5d-ac96-774b-bcce-b302099a8057 --from 4096 --follow',
      about: 'from a position on, until it ends',
    },
  ],
  async run(context, [text], values) {
    const named = parseJobName('job output', text);
    const isFollowed = values.follow === true;
    return withJobExit(() =>
      withHost(context, 'job output', named.host, async (host) => {
        const job = remoteJob(context, host, named.id, values.patience);
        const status = await printOutput(context, job, text, values.from ?? 0, isFollowed);
        return isFollowed ? endAs(context, status) : 0;
      }),
    );
  },
});
