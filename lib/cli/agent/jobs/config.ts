// The jobs of a host as its configuration declares them: their schema, and what it means.

import { readFileSync } from 'node:fs';
import type { ZodType, z as zod } from 'zod';
import { codeOf } from '../../../errors.js';
import { usage } from '../../failure.js';
import { parseDuration } from '../../flags.js';
import {
  faultsOf,
  isVariableName,
  type JobCommand,
  type JobCommands,
  type JobParameter,
  wholePattern,
} from './declared.js';

type Zod = typeof zod;

interface ParameterConfig {
  readonly pattern: string;
  readonly default?: string | number | boolean | null | undefined;
  readonly 'may-be-option'?: boolean | null | undefined;
}

interface JobConfig {
  readonly run: readonly string[];
  readonly params?: Readonly<Record<string, string | ParameterConfig>> | null | undefined;
  readonly env?: Readonly<Record<string, string | number | boolean>> | null | undefined;
  readonly 'caller-env'?: Readonly<Record<string, string | ParameterConfig>> | null | undefined;
  readonly cwd?: string | null | undefined;
  readonly user?: string | number | null | undefined;
  readonly stdin?: boolean | null | undefined;
  readonly timeout?: string | number | null | undefined;
  readonly grace?: string | number | null | undefined;
  readonly 'input-timeout'?: string | number | null | undefined;
  readonly 'max-output'?: number | null | undefined;
  readonly 'max-running'?: number | null | undefined;
  readonly keep?: string | number | null | undefined;
  readonly allow?: string | readonly string[] | null | undefined;
}

const MIB = 1024 * 1024;
const MAX_COMMANDS = 1_000;
/** What timers take. */
const LONGEST_MS = 2 ** 31 - 1;
const DEFAULTS = {
  timeoutMs: 3_600_000,
  graceMs: 10_000,
  inputMs: 60_000,
  maxOutputBytes: 64 * MIB,
  maxRunning: 4,
  keepMs: 7 * 24 * 3_600_000,
} as const;

/** Returns the schema of the key `jobs`: commands by their names. */
export function jobsSchema(z: Zod): ZodType<Readonly<Record<string, JobConfig>>> {
  const duration = z.union([z.number(), z.string()]).nullable().optional();
  const scalar = z.union([z.string(), z.number(), z.boolean()]);
  const parameter = z.union([
    z.string(),
    z.strictObject({
      pattern: z.string().describe('a regular expression that the whole value has to match'),
      default: scalar.nullable().optional().describe('taken when the caller gives none'),
      'may-be-option': z.boolean().nullable().optional().describe('whether the value may begin with a dash'),
    }),
  ]);
  const job = z.strictObject({
    run: z
      .array(z.string())
      .min(1)
      .describe('the absolute path of a program, and its arguments; {name} is a parameter'),
    params: z.record(z.string(), parameter).nullable().optional().describe('the parameters, with their patterns'),
    env: z.record(z.string(), scalar).nullable().optional().describe('variables of the program'),
    'caller-env': z.record(z.string(), parameter).nullable().optional().describe('variables that callers may set'),
    cwd: z.string().nullable().optional().describe('the folder in which it runs (else /)'),
    user: z
      .union([z.string(), z.int().min(0)])
      .nullable()
      .optional()
      .describe('the user as whom it runs: a name, or UID:GID; for an agent that runs as root'),
    stdin: z.boolean().nullable().optional().describe('whether it reads input of the caller (else an empty one)'),
    timeout: duration.describe('how long it may run (default 1h)'),
    grace: duration.describe('between SIGTERM and SIGKILL (default 10s)'),
    'input-timeout': duration.describe('how long its input may be open without its caller (default 60s)'),
    'max-output': z
      .number()
      .positive()
      .nullable()
      .optional()
      .describe('the most that it may print, in MiB (default 64)'),
    'max-running': z.int().min(1).max(10_000).nullable().optional().describe('how many may run at once (default 4)'),
    keep: duration.describe('how long it is kept when it has ended (default 7d)'),
    allow: z
      .union([z.string(), z.array(z.string())])
      .nullable()
      .optional()
      .describe('patterns of the members who may start it (else all with the right)'),
  });
  return z.record(z.string(), job);
}

/**
 * Returns the commands that a text declares: JSON of the key `jobs`, or the path of a file with that in YAML.
 * @throws Failure
 */
export async function readJobCommands(text: string): Promise<JobCommands> {
  const [{ z }, { parseDocument }] = await Promise.all([import('zod'), import('yaml')]);
  const isInline = text.startsWith('{');
  const where = isInline ? 'agent: jobs' : text;
  const document = parseDocument(isInline ? text : contentOf(text), { uniqueKeys: true, merge: true });
  const [fault] = document.errors;
  if (fault !== undefined) throw usage(`${where}: ${fault.message.split('\n')[0]}`);
  const checked = jobsSchema(z).safeParse(document.toJS({ maxAliasCount: 100 }) ?? {});
  if (!checked.success) {
    const { path, message } = checked.error.issues[0];
    throw usage(`${where}: ${[...path, message].join(': ')}`);
  }
  return jobCommands(checked.data, where);
}

/** @throws Failure */
function jobCommands(config: Readonly<Record<string, JobConfig>>, where: string): JobCommands {
  const commands = new Map<string, JobCommand>();
  for (const [name, job] of Object.entries(config)) {
    const command = jobCommand(name, job, (what) => usage(`${where}: ${name}: ${what}`));
    const [fault] = faultsOf(command);
    if (fault !== undefined) throw usage(`${where}: ${name}: ${fault}`);
    commands.set(name, command);
  }
  if (commands.size > MAX_COMMANDS) throw usage(`${where}: declares more than ${MAX_COMMANDS} commands`);
  return commands;
}

function jobCommand(name: string, job: JobConfig, fault: (what: string) => Error): JobCommand {
  const ms = (key: 'timeout' | 'grace' | 'input-timeout' | 'keep', normal: number, max: number): number => {
    const given = job[key];
    if (given === undefined || given === null) return normal;
    const value = parseDuration(String(given));
    if (value === undefined || value < 1 || value > max) throw fault(`${key} must be a time such as 10s or 2m`);
    return value;
  };
  const parameters = (key: 'params' | 'caller-env'): ReadonlyMap<string, JobParameter> => {
    const found = new Map<string, JobParameter>();
    for (const [param, given] of Object.entries(job[key] ?? {})) {
      const config: ParameterConfig = typeof given === 'string' ? { pattern: given } : given;
      let pattern: RegExp;
      try {
        pattern = wholePattern(config.pattern);
      } catch (error) {
        throw fault(`the pattern of ${param}: ${(error as Error).message}`);
      }
      const byDefault = config.default === undefined || config.default === null ? undefined : String(config.default);
      found.set(param, { pattern, byDefault, mayBeOption: config['may-be-option'] === true });
    }
    return found;
  };
  const callerEnv = parameters('caller-env');
  const env = Object.fromEntries(Object.entries(job.env ?? {}).map(([key, value]) => [key, String(value)]));
  const variable = [...callerEnv.keys(), ...Object.keys(env)].find((key) => !isVariableName(key));
  if (variable !== undefined) throw fault(`${variable} cannot be the name of a variable`);
  return {
    name,
    run: job.run,
    params: parameters('params'),
    env,
    callerEnv,
    cwd: job.cwd ?? undefined,
    user: userOf(job.user, fault),
    stdin: job.stdin === true,
    timeoutMs: ms('timeout', DEFAULTS.timeoutMs, LONGEST_MS),
    graceMs: ms('grace', DEFAULTS.graceMs, LONGEST_MS),
    inputMs: ms('input-timeout', DEFAULTS.inputMs, LONGEST_MS),
    maxOutputBytes: Math.ceil((job['max-output'] ?? DEFAULTS.maxOutputBytes / MIB) * MIB),
    maxRunning: job['max-running'] ?? DEFAULTS.maxRunning,
    keepMs: ms('keep', DEFAULTS.keepMs, Number.MAX_SAFE_INTEGER),
    allow: job.allow === undefined || job.allow === null ? undefined : [job.allow].flat(),
  };
}

function userOf(user: string | number | null | undefined, fault: (what: string) => Error): JobCommand['user'] {
  if (user === undefined || user === null) return undefined;
  const text = String(user);
  const numbers = /^(\d+):(\d+)$/.exec(text);
  if (numbers !== null) return { uid: Number(numbers[1]), gid: Number(numbers[2]) };
  let lines: readonly string[] = [];
  try {
    lines = readFileSync('/etc/passwd', 'utf8').split('\n');
  } catch {
    // There is none on Windows.
  }
  for (const line of lines) {
    const [name, , uid, gid] = line.split(':');
    if (name === text || uid === text) return { uid: Number(uid), gid: Number(gid) };
  }
  throw fault(`there is no user ${text}`);
}

function contentOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw usage(`${path}: cannot be read (${codeOf(error)})`);
  }
}
