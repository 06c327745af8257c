// What `starlane deploy` is asked for: its flags, and the manifest that they make.

import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { codeOf } from '../../../errors.js';
import { dateNow } from '../../../util/runtime/real-timers.js';
import { ExitCode, Failure, usage } from '../../failure.js';
import { flag, kebab, pairOf, type ValuesOf } from '../../flags.js';
import { APP_NAME, type Manifest, type ManifestService, parseManifest } from '../bundle/manifest.js';
import { listFolder } from '../bundle/pack.js';
import { type BundleSource, fileSource, folderSource } from '../bundle/source.js';
import { SigningKey } from '../signer.js';

const DAY_MS = 86_400_000;
const LONGEST_MS = 3_650 * DAY_MS;

/** What makes a bundle of a folder. */
const BUNDLE_FLAGS = {
  key: flag.text('the file with the private key that signs', { value: 'FILE' }),
  semver: flag.text('the version for people (else that of package.json, else 0.0.0)', { value: 'VERSION' }),
  number: flag.integer('the number of the version, which must grow (else the time in ms)', { min: 1 }),
  expires: flag.duration('how long hosts take the bundle', { otherwise: '30d', min: 1_000, max: LONGEST_MS }),
  command: flag.text('the program, as a line for the shell, instead of one behind --', { value: 'LINE' }),
  appEnv: flag.list('variables that the app gets', { value: 'NAME=VALUE', isWhole: true }),
  service: flag.list('services that the app offers: at the port in PORT, or with a name of its variable', {
    value: 'NAME[:VARIABLE]',
  }),
  check: flag.text('how services are checked: tcp, a path such as /health, or none', { otherwise: 'tcp' }),
  checkStatus: flag.text('the status that is healthy', { value: 'STATUS', otherwise: '200-399' }),
  interval: flag.duration('the time between checks', { otherwise: '5s', min: 10, max: 3_600_000 }),
  checkTimeout: flag.duration('how long a check may take', { otherwise: '2s', min: 1, max: 3_600_000 }),
  within: flag.duration('how long the app may take to become healthy', { otherwise: '60s', min: 1, max: 900_000 }),
  settle: flag.duration('an app without services is healthy when it has run for so long', {
    otherwise: '3s',
    min: 0,
    max: 900_000,
  }),
  stopTimeout: flag.duration('the time that the app has to end after SIGTERM', {
    otherwise: '10s',
    min: 0,
    max: 120_000,
  }),
  ignore: flag.list('names or paths of the folder to leave out, with asterisks', {
    value: 'PATTERN',
    otherwise: '.git, .DS_Store',
  }),
} as const;

export const TO_FLAG = {
  to: flag.list('the hosts: names of members, tag:NAME for all with a tag, or @nodeId', { value: 'HOST' }),
} as const;

export const DEPLOY_FLAGS = {
  ...TO_FLAG,
  from: flag.text('the folder of the app, or a bundle that was packed', { value: 'PATH', otherwise: '.' }),
  ...BUNDLE_FLAGS,
  parallel: flag.integer('how many hosts change at a time', { min: 1, max: 1_000, otherwise: '1' }),
  maxFailures: flag.integer('how many hosts may fail before the rollout ends', { min: 0, max: 1_000, otherwise: '0' }),
  rollback: flag.boolean('go back at all hosts when too many fail', {
    otherwise: 'true',
    aboutNot: 'leave hosts as they are when some fail, also with a version that is not healthy',
  }),
  pack: flag.text('write the bundle to this file (.tar or .tar.gz), and deploy nothing', {
    value: 'FILE',
    inFile: false,
  }),
  initKey: flag.text('make a key that signs bundles, in this file, and print its public half', {
    value: 'FILE',
    inFile: false,
  }),
} as const;

export type DeployValues = ValuesOf<typeof DEPLOY_FLAGS>;

const IGNORED = ['.git', '.DS_Store'];
/** Words that are commands below `deploy`. */
const TAKEN = ['status', 'logs', 'stop', 'start', 'restart', 'rollback', 'remove'];

/** @throws Failure when it is no name for an app */
export function checkedApp(name: string | undefined): string {
  if (name === undefined) throw usage('deploy: needs the name of an app; see starlane deploy --help');
  if (!APP_NAME.test(name) || TAKEN.includes(name))
    throw usage(
      `deploy ${name}: an app has 1 to 63 small letters, digits and hyphens as its name, and not that of a command`,
    );
  return name;
}

/** Returns the bundle that the flags describe. @throws Failure, ERR_STARLANE_BUNDLE */
export async function sourceOf(
  app: string,
  values: DeployValues,
  behind: readonly string[] | undefined,
): Promise<BundleSource> {
  const { from = '.' } = values;
  let isFolder: boolean;
  try {
    isFolder = statSync(from).isDirectory();
  } catch (error) {
    throw new Failure(`--from ${from}: cannot be read (${codeOf(error)})`, ExitCode.NOT_FOUND);
  }
  if (!isFolder) return packed(app, from, values, behind);
  if (values.key === undefined)
    throw usage(`deploy ${app}: needs --key FILE, the key that signs; starlane deploy --init-key FILE makes one`);
  const key = SigningKey.read(values.key);
  const command = commandOf(app, values, behind);
  const listing = await listFolder(from, [...IGNORED, ...(values.ignore ?? [])]);
  const nowMs = dateNow();
  const manifest: Manifest = {
    format: 1,
    app,
    number: values.number ?? nowMs,
    version: values.semver ?? versionIn(from),
    createdMs: nowMs,
    expiresMs: nowMs + (values.expires ?? 30 * DAY_MS),
    command,
    env: envOf(values.appEnv ?? []),
    services: servicesOf(values),
    health: {
      withinMs: values.within ?? 60_000,
      intervalMs: values.interval ?? 5_000,
      timeoutMs: values.checkTimeout ?? 2_000,
      // The first good check ends the wait for an app that has just begun to listen.
      rise: 1,
      fall: 3,
      settleMs: values.settle ?? 3_000,
    },
    stopMs: values.stopTimeout ?? 10_000,
    ...listing,
  };
  // What a host would refuse is a fault of this command line.
  return folderSource(from, parseManifest(Buffer.from(JSON.stringify(manifest))), key);
}

async function packed(
  app: string,
  path: string,
  values: DeployValues,
  behind: readonly string[] | undefined,
): Promise<BundleSource> {
  const given = (Object.keys(BUNDLE_FLAGS) as Array<keyof typeof BUNDLE_FLAGS>).find(
    (name) => values[name] !== undefined,
  );
  if (given !== undefined || behind !== undefined)
    throw usage(
      `${path}: is packed and signed, and ${given === undefined ? '--' : `--${kebab(given)}`} cannot change it`,
    );
  const source = await fileSource(path);
  if (source.manifest.app !== app) throw usage(`${path}: is a bundle of ${source.manifest.app}, not of ${app}`);
  return source;
}

function commandOf(app: string, { command }: DeployValues, behind: readonly string[] | undefined): Manifest['command'] {
  if (behind !== undefined && command !== undefined) throw usage(`deploy ${app}: --command and -- are two programs`);
  if (behind?.length === 0) throw usage(`deploy ${app}: there is no program behind --`);
  const given = behind ?? command;
  if (given === undefined)
    throw usage(`deploy ${app}: needs the program, such as: starlane deploy ${app} … -- node server.js`);
  return given;
}

function envOf(given: readonly string[]): Record<string, string> {
  return Object.fromEntries(given.map((text) => pairOf('--app-env', text)));
}

function servicesOf({ service = [], check = 'tcp', checkStatus }: DeployValues): ManifestService[] {
  if (check !== 'tcp' && check !== 'none' && !check.startsWith('/'))
    throw usage(`--check: must be tcp, none, or a path that begins with /, not ${JSON.stringify(check)}`);
  return service.map((text) => {
    const [name, port = 'PORT'] = text.split(':', 2);
    return { name, port, check, ...(checkStatus === undefined ? {} : { status: checkStatus }) };
  });
}

function versionIn(folder: string): string {
  try {
    const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { version?: unknown };
    if (typeof version === 'string') return version;
  } catch {
    // It need not be a program of Node.
  }
  return '0.0.0';
}
