// The schema of the jobs that the configuration of a host declares.

import type { ZodType, z as zod } from 'zod';

type Zod = typeof zod;

export interface ParameterConfig {
  readonly pattern: string;
  readonly default?: string | number | boolean | null | undefined;
  readonly 'may-be-option'?: boolean | null | undefined;
}

export interface JobConfig {
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
      .describe('the user that it runs as: a name, or UID:GID; for an agent that runs as root'),
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
      .describe('patterns of the members that may start it (else all with the right)'),
  });
  return z.record(z.string(), job);
}
