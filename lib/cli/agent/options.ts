// What an agent is asked for: its flags, and what they mean together.

import { usage } from '../failure.js';
import { flag, type ValuesOf } from '../flags.js';
import { jobsSchema } from './jobs/config.js';
import { HostRules, RULE_FIELDS } from './rules.js';
import { parseSigner, type Signer } from './signer.js';

export const AGENT_FLAGS = {
  allow: flag.list('who may do what here, such as "members=ops-* rights=deploy,logs apps=web-*"', {
    value: 'RULE',
    isWhole: true,
    fields: RULE_FIELDS,
    otherwise: 'nobody',
  }),
  signers: flag.list('public keys whose bundles this host accepts; starlane deploy --init-key makes one', {
    value: 'KEY',
    otherwise: 'none',
  }),
  folder: flag.text('the folder for apps, logs and jobs (else one in the home of the command)', { value: 'FOLDER' }),
  passEnv: flag.list('variables of this process that apps and jobs get, besides PATH, HOME and those of the locale', {
    value: 'NAME',
  }),
  maxApps: flag.integer('how many apps there may be', { min: 0, max: 1_000, otherwise: '32' }),
  keepVersions: flag.integer('how many versions of an app are kept', { min: 2, max: 100, otherwise: '5' }),
  maxBundle: flag.integer('the size of a bundle at most, in MiB', {
    value: 'MIB',
    min: 1,
    max: 1_048_576,
    otherwise: '1024',
  }),
  maxDisk: flag.integer('the size of all versions of all apps at most, in MiB', {
    value: 'MIB',
    min: 1,
    max: 16_777_216,
    otherwise: '10240',
  }),
  maxLog: flag.integer('the size of the log of an app at most, in MiB; the oldest part goes first', {
    value: 'MIB',
    min: 1,
    max: 1_048_576,
    otherwise: '64',
  }),
  jobs: flag.text('commands that may be started here as jobs: a YAML file; or an object in the configuration file', {
    value: 'FILE',
    object: jobsSchema,
    otherwise: 'none',
  }),
  maxJobs: flag.integer('how many jobs may run at once', { min: 1, max: 10_000, otherwise: '16' }),
  maxJobsCaller: flag.integer('how many jobs of one caller may run at once', {
    min: 1,
    max: 10_000,
    otherwise: '8',
  }),
  keepJobs: flag.integer('how many jobs are kept when they have ended', { min: 1, max: 100_000, otherwise: '1000' }),
  maxJobsDisk: flag.integer('the output of all jobs that are kept at most, in MiB', {
    value: 'MIB',
    min: 1,
    max: 16_777_216,
    otherwise: '1024',
  }),
} as const;

export type AgentValues = ValuesOf<typeof AGENT_FLAGS>;

const MIB = 1024 * 1024;

export interface AgentOptions {
  readonly rules: HostRules;
  readonly signers: readonly Signer[];
  readonly passEnv: readonly string[];
  readonly maxApps: number;
  readonly keepVersions: number;
  readonly maxBundleBytes: number;
  readonly maxDiskBytes: number;
  readonly maxLogBytes: number;
  /** JSON of declared commands, or the path of a file with them. */
  readonly jobs: string;
  readonly maxJobs: number;
  readonly maxJobsCaller: number;
  readonly keepJobs: number;
  readonly maxJobsDiskBytes: number;
}

/** @throws Failure */
export function agentOptions(values: AgentValues): AgentOptions {
  const { allow = [], signers = [] } = values;
  if (allow.length === 0) {
    throw usage(
      'agent: needs --allow, such as --allow "members=ops-* rights=deploy,logs": without a rule nobody may do anything',
    );
  }
  let rules: HostRules;
  try {
    rules = new HostRules(allow);
  } catch (error) {
    throw usage(`agent: --allow: ${(error as Error).message}`);
  }
  return {
    rules,
    signers: signers.map((text) => {
      const signer = parseSigner(text);
      if (signer === undefined)
        throw usage(`agent: --signers: must be ed25519: and 43 characters, as starlane deploy --init-key prints it`);
      return signer;
    }),
    passEnv: values.passEnv ?? [],
    maxApps: values.maxApps ?? 32,
    keepVersions: values.keepVersions ?? 5,
    maxBundleBytes: (values.maxBundle ?? 1_024) * MIB,
    maxDiskBytes: (values.maxDisk ?? 10_240) * MIB,
    maxLogBytes: (values.maxLog ?? 64) * MIB,
    jobs: values.jobs ?? '{}',
    maxJobs: values.maxJobs ?? 16,
    maxJobsCaller: values.maxJobsCaller ?? 8,
    keepJobs: values.keepJobs ?? 1_000,
    maxJobsDiskBytes: (values.maxJobsDisk ?? 1_024) * MIB,
  };
}
