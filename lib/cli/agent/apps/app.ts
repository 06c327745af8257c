// One app of a host: its versions side by side, the one that runs, and the state on disk from which it goes on after a restart of the agent.

import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { codeOf, starlaneError } from '../../../errors.js';
import { syncFolder, writeSynced } from '../../../identity/credentials.js';
import { dateNow, performanceNow } from '../../../util/runtime/real-timers.js';
import { codedError, lineOf } from '../../failure.js';
import type { Log } from '../../log.js';
import type { BundleHead } from '../bundle/head.js';
import { bytesIn, type Manifest, parseManifest } from '../bundle/manifest.js';
import { Journal } from '../journal.js';
import type { AgentHost } from '../part.js';
import { identityOf } from '../process-identity.js';
import { pause } from '../retry.js';
import { endLeftover } from './leftover.js';
import { AppRun, type RunStatus } from './run.js';
import { type AppState, type Before, type KeptVersion, readAppState, writeAppState } from './state.js';

const POLL_MS = 25;
/** Of the log, in the error of a version that is not healthy. */
const SHOWN_LOG_BYTES = 2_048;
/** In front of it. */
export const LOG_FOLLOWS = '; its log ends: ';
/** For streams and the program of a version that another one replaces. */
const REPLACE_MS = 10_000;

export interface AppStatus {
  readonly app: string;
  readonly state: RunStatus['state'] | 'stopped';
  readonly number: number | null;
  readonly version: string | null;
  readonly previous: number | null;
  readonly pid: number | null;
  readonly restarts: number;
  readonly fault: string | null;
  readonly services: RunStatus['services'];
  readonly versions: readonly KeptVersion[];
  readonly log: { readonly start: number; readonly end: number };
}

export interface Activation {
  readonly app: string;
  readonly number: number;
  readonly version: string;
  /** The number of the version that ran before; null for the first one. */
  readonly previous: number | null;
  /** Whether the app was to run before. */
  readonly wasRunning: boolean;
  readonly changed: boolean;
}

export class App {
  readonly journal: Journal;
  private state: AppState;
  private run: AppRun | undefined;
  private isBusy = false;
  private isClosed = false;
  /** Whether the state on the disk is an older one. */
  private isUnsaved = false;
  private readonly log: Log;
  private readonly stateFile: string;

  constructor(
    readonly name: string,
    private readonly folder: string,
    private readonly host: AgentHost,
  ) {
    mkdirSync(this.versionsFolder, { recursive: true, mode: 0o700 });
    this.stateFile = join(folder, 'state.json');
    this.state = readAppState(this.stateFile);
    this.journal = Journal.open(join(folder, 'log'), host.options.maxLogBytes);
    const say =
      (level: 'info' | 'warn' | 'error') =>
      (line: string): void => {
        host.log[level](line);
        this.note(line);
      };
    this.log = {
      debug: () => {},
      info: say('info'),
      warn: say('warn'),
      error: say('error'),
      output: (_source, _stream, line) => this.journal.append(Buffer.from(`${line}\n`)),
    };
  }

  /** Whether any version is installed. An app that was removed is kept for its highest number only. */
  get isInstalled(): boolean {
    return this.state.versions.length > 0;
  }

  get highest(): number {
    return this.state.highest;
  }

  get bytes(): number {
    return this.state.versions.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** Returns the version with that number, if it is kept. */
  version(number: number): KeptVersion | undefined {
    return this.state.versions.find((version) => version.number === number);
  }

  /** Takes up what an earlier agent has left: ends its program, undoes what it was trying, and starts what is to run. */
  async boot(): Promise<void> {
    const { group, trial, versions } = this.state;
    if (group !== undefined && (await endLeftover(group)))
      this.log.warn(`app ${this.name}: ended the program that an earlier agent has left`);
    const kept = new Set(versions.map(({ number }) => String(number)));
    for (const name of readdirSync(this.versionsFolder)) if (!kept.has(name)) this.removeVersion(name);
    if (trial !== undefined) {
      this.log.warn(`app ${this.name}: its deployment was cut off, and is undone`);
      this.goBack(trial);
    }
    if (group !== undefined) this.keep({ group: undefined });
    if (!this.state.wanted) return;
    // An app that cannot be started must not keep the others from it.
    await this.startRun().catch((error) => this.log.error(lineOf(error)));
  }

  /** Moves files that were received to their place. @throws as node:fs */
  install({ manifest, bytes, signer, signature }: BundleHead, digest: string, received: string): void {
    const target = join(this.versionsFolder, String(manifest.number));
    writeSynced(join(received, 'manifest.json'), bytes);
    writeSynced(join(received, 'signature'), `${signer} ${signature.toString('base64url')}\n`);
    syncFolder(received);
    rmSync(target, { recursive: true, force: true });
    renameSync(received, target);
    syncFolder(this.versionsFolder);
    const { number, version } = manifest;
    const kept = { number, version, digest, signer, bytes: bytesIn(manifest), installedMs: dateNow() };
    this.save({ highest: Math.max(this.state.highest, number), versions: [...this.state.versions, kept] });
    this.prune();
  }

  /**
   * Runs a version that is kept, instead of the current one, and waits until it is healthy. If it does not become that, and `restores`,
   * the one before runs again.
   * @throws ENOENT, EBUSY; ERR_STARLANE_DEPLOY when it does not become healthy
   */
  activate(number: number | undefined, restores: boolean): Promise<Activation> {
    return this.alone(async () => {
      const wanted = number ?? this.state.previous;
      const version = wanted === undefined ? undefined : this.version(wanted);
      if (version === undefined)
        throw missing(
          wanted === undefined ? `${this.name} has no version before` : `${this.name} has no version ${wanted}`,
        );
      const { current: before, previous, wanted: wasRunning } = this.state;
      const result = {
        app: this.name,
        number: version.number,
        version: version.version,
        previous: before ?? null,
        wasRunning,
      };
      if (before === version.number && this.run?.status().state === 'healthy')
        return { ...result, previous: previous ?? null, changed: false };
      const isOther = before !== version.number;
      const state = restores ? { current: before, previous, wanted: wasRunning } : undefined;
      this.save({ current: version.number, previous: isOther ? before : previous, wanted: true, trial: state });
      const logFrom = this.journal.end;
      this.note(`version ${version.version} (${version.number}) is deployed`);
      try {
        await this.stopRun(AbortSignal.timeout(REPLACE_MS));
        await this.startRun();
        await this.healthy();
        // As long as it is not written down, the next start of the agent goes back.
        if (state !== undefined) this.save({ trial: undefined });
      } catch (error) {
        throw await this.failed(error, version, logFrom, state);
      }
      this.prune();
      return { ...result, changed: true };
    });
  }

  /** Starts the current version, and waits until it is healthy. @throws as {@link activate} */
  start(): Promise<AppStatus> {
    return this.alone(async () => {
      this.checkInstalled();
      this.save({ wanted: true });
      if (this.run === undefined) await this.startRun();
      await this.healthy().catch((error) => {
        throw deployError(`${this.name} is not healthy: ${lineOf(error)}`);
      });
      return this.status();
    });
  }

  stop(): Promise<AppStatus> {
    return this.alone(async () => {
      this.checkInstalled();
      // What fills a disk must be stopped although nothing can be written there.
      this.keep({ wanted: false });
      await this.stopRun(AbortSignal.timeout(REPLACE_MS));
      this.note('was stopped');
      this.saveAgain();
      return this.status();
    });
  }

  async restart(): Promise<AppStatus> {
    await this.stop();
    return this.start();
  }

  /** Removes versions and logs, and the data where that is asked for. Its highest number stays. */
  remove(withData: boolean): Promise<object> {
    return this.alone(async () => {
      this.keep({ wanted: false });
      await this.stopRun(AbortSignal.timeout(REPLACE_MS));
      this.keep({ versions: [], current: undefined, previous: undefined });
      rmSync(this.versionsFolder, { recursive: true, force: true });
      mkdirSync(this.versionsFolder, { mode: 0o700 });
      this.journal.clear();
      if (withData) rmSync(this.dataFolder, { recursive: true, force: true });
      this.saveAgain();
      return {
        app: this.name,
        removed: true,
        data: withData ? 'removed' : existsSync(this.dataFolder) ? 'kept' : 'none',
      };
    });
  }

  /** Ends the program; it runs again when the agent does. */
  async close(signal: AbortSignal): Promise<void> {
    this.isClosed = true;
    await this.stopRun(signal);
    this.journal.close();
  }

  onOptions(): void {
    this.journal.limit = this.host.options.maxLogBytes;
  }

  status(): AppStatus {
    const { current, previous, versions } = this.state;
    const run = this.run?.status();
    return {
      app: this.name,
      state: run?.state ?? (this.state.wanted ? 'down' : 'stopped'),
      number: current ?? null,
      version: versions.find(({ number }) => number === current)?.version ?? null,
      previous: previous ?? null,
      pid: run?.pid ?? null,
      restarts: run?.restarts ?? 0,
      fault: run?.fault ?? null,
      services: run?.services ?? [],
      versions,
      log: { start: this.journal.start, end: this.journal.end },
    };
  }

  private get versionsFolder(): string {
    return join(this.folder, 'versions');
  }

  private get dataFolder(): string {
    return join(this.folder, 'data');
  }

  private manifestOf(number: number): Manifest {
    return parseManifest(readFileSync(join(this.versionsFolder, String(number), 'manifest.json')));
  }

  private async startRun(): Promise<void> {
    const { current } = this.state;
    if (this.isClosed) throw deployError('the agent ends');
    if (current === undefined) throw missing(`${this.name} has no version that could run`);
    const { host, folder } = this;
    const manifest = this.manifestOf(current);
    const place = { files: join(this.versionsFolder, String(current), 'files'), data: join(folder, 'data') };
    const run = new AppRun(manifest, place, {
      overlay: host.overlay,
      log: this.log,
      environment: host.environment,
      passEnv: host.options.passEnv,
      onProcess: (pid) => this.keep({ group: pid === undefined ? undefined : identityOf(pid) }),
    });
    this.run = run;
    try {
      await run.start();
    } catch (error) {
      this.run = undefined;
      throw error;
    }
  }

  private async stopRun(signal: AbortSignal): Promise<void> {
    const { run } = this;
    this.run = undefined;
    await run?.stop(signal);
  }

  /** Resolves when what runs is healthy. @throws Error that says why it is not, in time */
  private async healthy(): Promise<void> {
    const { run } = this;
    const { withinMs } = this.manifestOf(this.state.current as number).health;
    const untilMs = performanceNow() + withinMs;
    for (;;) {
      const { state, fault } = run?.status() ?? { state: 'down' as const, fault: undefined };
      if (state === 'healthy') return;
      if (performanceNow() >= untilMs || run !== this.run)
        throw new Error(`${fault ?? 'it does not answer'}, within ${withinMs / 1000} s`);
      await pause(POLL_MS);
    }
  }

  /** Goes back to what was before, and returns the error that says so. */
  private async failed(
    error: unknown,
    { version, number }: KeptVersion,
    logFrom: number,
    before: Before | undefined,
  ): Promise<Error> {
    const from = Math.max(logFrom, await this.journal.lastLines(SHOWN_LOG_BYTES));
    const tail = await this.journal.read(from, SHOWN_LOG_BYTES);
    let what = `version ${version} (${number}) is not healthy: ${lineOf(error)}`;
    if (before !== undefined) {
      await this.stopRun(AbortSignal.timeout(REPLACE_MS));
      this.goBack(before);
      const runsAgain = before.wanted && before.current !== undefined;
      if (runsAgain) await this.startRun().catch((fault) => this.log.error(lineOf(fault)));
      what += runsAgain ? `; version ${before.current} runs again` : '; the app is stopped, as it was before';
    }
    this.log.warn(`app ${this.name}: ${what}`);
    const log = tail?.toString().trim() ?? '';
    return deployError(log === '' ? what : `${what}${LOG_FOLLOWS}${log}`);
  }

  /** Removes what is more than the host keeps, but neither the current version nor the one before it. */
  private prune(): void {
    const { versions, current, previous, highest } = this.state;
    const { keepVersions } = this.host.options;
    const newest = [...versions].sort((a, b) => b.number - a.number).slice(0, keepVersions);
    const kept = versions.filter(
      (version) => newest.includes(version) || [current, previous, highest].includes(version.number),
    );
    if (kept.length === versions.length) return;
    try {
      this.save({ versions: kept });
    } catch (error) {
      // What was asked for is done; the next version brings another try.
      this.log.warn(`app ${this.name}: older versions are kept (${codeOf(error)})`);
      return;
    }
    for (const version of versions) if (!kept.includes(version)) this.removeVersion(String(version.number));
  }

  /** A program may have left what cannot be removed. That must stop neither a deployment nor the start of the agent. */
  private removeVersion(name: string): void {
    try {
      rmSync(join(this.versionsFolder, name), { recursive: true, force: true });
    } catch (error) {
      this.log.warn(`app ${this.name}: the files of ${name} cannot be removed (${codeOf(error)})`);
    }
  }

  private checkInstalled(): void {
    if (!this.isInstalled || this.state.current === undefined)
      throw missing(`there is no app ${this.name} that could run`);
  }

  private goBack({ current, previous, wanted }: Before): void {
    // Each by its name: what was undefined is not on disk.
    this.keep({ current, previous, wanted, trial: undefined });
  }

  /** Makes changes, which hold when they are on the disk. @throws as node:fs */
  private save(changes: Partial<AppState>): void {
    const next = { ...this.state, ...changes };
    writeAppState(this.stateFile, next);
    this.state = next;
    this.isUnsaved = false;
  }

  /** Notes what has happened already, or must happen also on a full disk. The next change writes it as well. */
  private keep(changes: Partial<AppState>): void {
    this.state = { ...this.state, ...changes };
    try {
      this.save({});
    } catch (error) {
      this.isUnsaved = true;
      this.log.error(`app ${this.name}: its state cannot be written (${codeOf(error)})`);
    }
  }

  /** @throws ERR_STARLANE_DEPLOY when what was done is not written down still */
  private saveAgain(): void {
    if (!this.isUnsaved) return;
    try {
      this.save({});
    } catch (error) {
      throw deployError(
        `it is done, but cannot be written down (${codeOf(error)}): the next start of the agent undoes it`,
      );
    }
  }

  /** Writes a line of the agent into the log of the app. */
  private note(line: string): void {
    this.journal.append(Buffer.from(`[starlane] ${line}\n`));
  }

  /** Runs one change at a time; another one is refused, as it was asked for without knowing of the first. */
  private async alone<T>(work: () => Promise<T>): Promise<T> {
    if (this.isBusy) throw codedError('EBUSY', `another change of ${this.name} is under way`);
    this.isBusy = true;
    try {
      return await work();
    } finally {
      this.isBusy = false;
    }
  }
}

function missing(message: string): Error {
  return codedError('ENOENT', message);
}

function deployError(what: string): Error {
  return starlaneError('ERR_STARLANE_DEPLOY', what);
}
