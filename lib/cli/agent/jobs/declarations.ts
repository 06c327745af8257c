// The jobs of a host as its configuration declares them. Loaded when there are any.

import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { codeOf } from '../../../errors.js';
import { readYaml } from '../../config/yaml.js';
import { usage } from '../../failure.js';
import { parseDuration } from '../../flags.js';
import { type JobConfig, jobsSchema, type ParameterConfig } from './config.js';
import {
  faultsOf,
  isVariableName,
  type JobCommand,
  type JobCommands,
  type JobParameter,
  wholePattern,
} from './declared.js';

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

/**
 * Returns the commands that a text declares: JSON of the key `jobs`, or the path of a file with that in YAML.
 * @throws Failure
 */
export function readJobCommands(text: string): JobCommands {
  const isInline = text.startsWith('{');
  const where = isInline ? 'agent: jobs' : text;
  const declared = readYaml(isInline ? text : contentOf(text), jobsSchema(z), where, !isInline);
  return jobCommands(declared, where);
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
