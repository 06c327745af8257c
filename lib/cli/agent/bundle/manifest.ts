// The manifest of a bundle: what it is called, what runs, and what files there are. JSON, signed as the bytes that were sent.

import { isServiceName } from '../../../address.js';
import { starlaneError } from '../../../errors.js';
import { fold, PathSet } from './paths.js';
import { headerOf, MAX_SIZE } from './tar-header.js';

export const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;
export const MAX_FILES = 20_000;
/** The folder of the files in the tar. */
export const FILES_FOLDER = 'files';

const MAX_ARGS = 64;
const MAX_TEXT = 4_096;
const MAX_ENV = 128;
const MAX_SERVICES = 8;
const MAX_STOP_MS = 120_000;
const MAX_WITHIN_MS = 15 * 60_000;
const MAX_INTERVAL_MS = 3_600_000;

export interface ManifestFile {
  readonly path: string;
  readonly size: number;
  readonly mode: number;
  /** In hex. */
  readonly sha256: string;
}

export interface ManifestService {
  /** The name of the service in the network. */
  readonly name: string;
  /** The variable of the environment that has its port. */
  readonly port: string;
  /** `tcp`, `none` or a path such as /health. */
  readonly check: string;
  /** The status that is healthy: `200-399`. */
  readonly status?: string | undefined;
}

/** When the app counts as healthy. */
export interface ManifestHealth {
  /** How long it may take from its start until all of its services are healthy. */
  readonly withinMs: number;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly rise: number;
  readonly fall: number;
  /** An app without services is healthy when it has run for so long. */
  readonly settleMs: number;
}

export interface Manifest {
  readonly format: 1;
  readonly app: string;
  /** Grows with each version. */
  readonly number: number;
  /** For people: 1.2.3. */
  readonly version: string;
  /** Ms since 1970. */
  readonly createdMs: number;
  /** No host takes it from then on. */
  readonly expiresMs: number;
  /** A file with arguments, or a line for the shell; it runs in the folder of the files. */
  readonly command: readonly string[] | string;
  readonly env: Readonly<Record<string, string>>;
  readonly services: readonly ManifestService[];
  readonly health: ManifestHealth;
  /** The time between SIGTERM and SIGKILL. */
  readonly stopMs: number;
  /** Folders without files in them. */
  readonly folders: readonly string[];
  readonly files: readonly ManifestFile[];
}

export const APP_NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const VARIABLE = /^[A-Za-z_]\w{0,99}$/;
const SHA256 = /^[0-9a-f]{64}$/;
const VERSION_TEXT = /^[\w.+-]{1,64}$/;
const STATUS = /^[1-5]\d\d(?:-[1-5]\d\d)?(?:,[1-5]\d\d(?:-[1-5]\d\d)?)*$/;

/** Reads a manifest, and checks all of it. @throws ERR_STARLANE_BUNDLE */
export function parseManifest(bytes: Uint8Array): Manifest {
  if (bytes.byteLength > MAX_MANIFEST_BYTES) throw fault(`has more than ${MAX_MANIFEST_BYTES} bytes`);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch {
    throw fault('is no JSON');
  }
  const manifest = new Fields('it', value);
  manifest.only(
    'format',
    'app',
    'number',
    'version',
    'createdMs',
    'expiresMs',
    'command',
    'env',
    'services',
    'health',
    'stopMs',
    'folders',
    'files',
  );
  if (manifest.get('format') !== 1) throw fault('has a format that this version does not know');
  const read: Manifest = {
    format: 1,
    app: manifest.text('app', APP_NAME),
    number: manifest.integer('number', 1, Number.MAX_SAFE_INTEGER),
    version: manifest.text('version', VERSION_TEXT),
    createdMs: manifest.integer('createdMs', 0, Number.MAX_SAFE_INTEGER),
    expiresMs: manifest.integer('expiresMs', 0, Number.MAX_SAFE_INTEGER),
    command: commandOf(manifest.get('command')),
    env: envOf(manifest.get('env')),
    services: servicesOf(manifest),
    health: healthOf(manifest.get('health')),
    stopMs: manifest.integer('stopMs', 0, MAX_STOP_MS),
    folders: manifest.list('folders', MAX_FILES).map((path) => {
      if (typeof path !== 'string') throw fault('folders must be texts');
      return path;
    }),
    files: manifest.list('files', MAX_FILES).map(fileOf),
  };
  checkPaths(read);
  return read;
}

/** Returns the size of all files together. */
export function bytesIn({ files }: Pick<Manifest, 'files'>): number {
  return files.reduce((sum, { size }) => sum + size, 0);
}

/** @throws ERR_STARLANE_BUNDLE */
function checkPaths({ files, folders }: Manifest): void {
  const paths = new PathSet();
  for (const { path, isFolder } of [
    ...folders.map((path) => ({ path, isFolder: true })),
    ...files.map(({ path }) => ({ path, isFolder: false })),
  ]) {
    const what = paths.add(path, isFolder);
    if (what !== undefined) throw fault(`the path ${JSON.stringify(path)} ${what}`);
    headerOf({ path: `${FILES_FOLDER}/${path}`, size: 0, mode: 0, isFolder });
  }
}

function fileOf(value: unknown): ManifestFile {
  const file = new Fields('a file', value);
  file.only('path', 'size', 'mode', 'sha256');
  return {
    path: file.text('path', /^/),
    size: file.integer('size', 0, MAX_SIZE),
    mode: file.integer('mode', 0, 0o7777),
    sha256: file.text('sha256', SHA256),
  };
}

function commandOf(value: unknown): Manifest['command'] {
  const isText = (text: unknown): text is string =>
    typeof text === 'string' && text !== '' && text.length <= MAX_TEXT && !text.includes('\0');
  if (isText(value)) return value;
  if (!Array.isArray(value) || value.length === 0 || value.length > MAX_ARGS || !isText(value[0]))
    throw fault('command must be a line, or a file with arguments');
  if (!value.every((text) => text === '' || isText(text))) throw fault('command has an argument that is too long');
  return value as string[];
}

function envOf(value: unknown): Readonly<Record<string, string>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw fault('env must be an object');
  const entries = Object.entries(value);
  if (entries.length > MAX_ENV) throw fault(`env has more than ${MAX_ENV} variables`);
  const env: Record<string, string> = Object.create(null);
  for (const [name, text] of entries) {
    if (!VARIABLE.test(name) || /^STARLANE_/i.test(name)) throw fault(`env has a variable that it must not set`);
    if (typeof text !== 'string' || text.length > MAX_TEXT || text.includes('\0'))
      throw fault(`env.${name} must be a text`);
    env[name] = text;
  }
  return env;
}

function servicesOf(manifest: Fields): readonly ManifestService[] {
  const services = manifest.list('services', MAX_SERVICES).map((value): ManifestService => {
    const service = new Fields('a service', value);
    service.only('name', 'port', 'check', 'status');
    const name = service.text('name', /^/);
    if (!isServiceName(name)) throw fault('a service has no name that services may have');
    const status = service.get('status');
    if (status !== undefined) service.text('status', STATUS);
    return {
      name,
      port: service.text('port', VARIABLE),
      check: service.text('check', /^(?:tcp|none|\/[\x21-\x7e]{0,255})$/),
      status: status as string | undefined,
    };
  });
  if (new Set(services.map(({ name }) => fold(name))).size < services.length) throw fault('two services have one name');
  if (new Set(services.map(({ port }) => port)).size < services.length) throw fault('two services have one port');
  return services;
}

function healthOf(value: unknown): ManifestHealth {
  const health = new Fields('health', value);
  health.only('withinMs', 'intervalMs', 'timeoutMs', 'rise', 'fall', 'settleMs');
  return {
    withinMs: health.integer('withinMs', 1, MAX_WITHIN_MS),
    intervalMs: health.integer('intervalMs', 10, MAX_INTERVAL_MS),
    timeoutMs: health.integer('timeoutMs', 1, MAX_INTERVAL_MS),
    rise: health.integer('rise', 1, 1_000),
    fall: health.integer('fall', 1, 1_000),
    settleMs: health.integer('settleMs', 0, MAX_WITHIN_MS),
  };
}

/** The fields of an object of JSON. */
class Fields {
  private readonly value: object;

  constructor(
    private readonly name: string,
    value: unknown,
  ) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw fault(`${name} must be an object`);
    this.value = value;
  }

  /** @throws ERR_STARLANE_BUNDLE when there are others: what this version does not know may matter */
  only(...names: readonly string[]): void {
    const other = Object.keys(this.value).find((name) => !names.includes(name));
    if (other !== undefined) throw fault(`${this.name} has a field that this version does not know`);
  }

  get(name: string): unknown {
    return Object.hasOwn(this.value, name) ? (this.value as Record<string, unknown>)[name] : undefined;
  }

  text(name: string, pattern: RegExp): string {
    const text = this.get(name);
    if (typeof text !== 'string' || text.length > MAX_TEXT || !pattern.test(text))
      throw fault(`${name} of ${this.name} has no such value`);
    return text;
  }

  integer(name: string, min: number, max: number): number {
    const number = this.get(name);
    if (!Number.isSafeInteger(number) || (number as number) < min || (number as number) > max)
      throw fault(`${name} of ${this.name} must be a whole number from ${min} to ${max}`);
    return number as number;
  }

  list(name: string, most: number): readonly unknown[] {
    const list = this.get(name);
    if (!Array.isArray(list)) throw fault(`${name} of ${this.name} must be a list`);
    if (list.length > most) throw fault(`${name} of ${this.name} has more than ${most} entries`);
    return list;
  }
}

function fault(what: string): Error {
  return starlaneError('ERR_STARLANE_BUNDLE', `the manifest: ${what}`);
}
