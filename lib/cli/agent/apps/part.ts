// The apps of a host, as a part of its agent: their routes, their limits, and their start and end with the agent.

import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { starlaneError } from '../../../errors.js';
import { codedError, lineOf } from '../../failure.js';
import { bytesOf, piecesOf } from '../answer.js';
import { type BundleHead, MAX_HEAD_BYTES } from '../bundle/head.js';
import { APP_NAME } from '../bundle/manifest.js';
import { sendJournal } from '../journal-route.js';
import type { AgentHost, AgentPart } from '../part.js';
import type { Call, Route } from '../routes.js';
import { App } from './app.js';
import { type Disk, REAL_DISK, Uploads } from './uploads.js';

/** Apps that are or were here: those that were removed are kept for their highest number. */
const MAX_KNOWN = 4_096;
/** Heads that are read at a time, of all callers and of one: each may have megabytes. */
const MAX_HEADS = 8;
const MAX_HEADS_PER_CALLER = 2;

export class AppsPart implements AgentPart {
  readonly routes: readonly Route[];
  private host: AgentHost | undefined;
  private uploads: Uploads | undefined;
  private readonly apps = new Map<string, App>();
  /** The callers whose heads are being read. */
  private readonly heads: string[] = [];

  constructor(private readonly disk: Disk = REAL_DISK) {
    const of = 'app';
    const deploy = { right: 'deploy', of } as const;
    this.routes = [
      { method: 'GET', path: '/v1/apps', right: 'status', handle: (call) => this.list(call) },
      { method: 'GET', path: '/v1/apps/:app', right: 'status', of, handle: (call) => this.appOf(call).status() },
      { method: 'GET', path: '/v1/apps/:app/logs', right: 'logs', of, handle: (call) => this.logs(call) },
      { method: 'POST', path: '/v1/apps/:app/versions', ...deploy, handle: (call) => this.offer(call) },
      { method: 'PUT', path: '/v1/apps/:app/versions/:digest', ...deploy, handle: (call) => this.receive(call) },
      { method: 'POST', path: '/v1/apps/:app/activate', ...deploy, handle: (call) => this.activate(call) },
      { method: 'POST', path: '/v1/apps/:app/start', ...deploy, handle: (call) => this.appOf(call).start() },
      { method: 'POST', path: '/v1/apps/:app/stop', ...deploy, handle: (call) => this.appOf(call).stop() },
      { method: 'POST', path: '/v1/apps/:app/restart', ...deploy, handle: (call) => this.appOf(call).restart() },
      {
        method: 'DELETE',
        path: '/v1/apps/:app',
        ...deploy,
        handle: (call) => this.appOf(call).remove(call.query.get('data') === 'true'),
      },
    ];
  }

  async start(host: AgentHost): Promise<void> {
    this.host = host;
    this.uploads = new Uploads(
      host,
      {
        check: (head, digest) => this.check(head, digest),
        get bytes() {
          return bytes();
        },
      },
      this.disk,
    );
    const bytes = () => [...this.apps.values()].reduce((sum, app) => sum + app.bytes, 0);
    for (const entry of readdirSync(host.folder.apps, { withFileTypes: true })) {
      if (!entry.isDirectory() || !APP_NAME.test(entry.name)) continue;
      try {
        this.apps.set(entry.name, new App(entry.name, join(host.folder.apps, entry.name), host));
      } catch (error) {
        // The others go on, and this one is refused until somebody looks at it.
        host.log.error(`app ${entry.name}: ${lineOf(error)}`);
      }
    }
    // Each may have to end what an earlier agent has left.
    await Promise.all(
      [...this.apps.values()].map((app) =>
        app.boot().catch((error) => host.log.error(`app ${app.name}: ${lineOf(error)}`)),
      ),
    );
  }

  onOptions(): void {
    for (const app of this.apps.values()) app.onOptions();
  }

  async stop(signal: AbortSignal): Promise<void> {
    this.uploads?.close();
    await Promise.all([...this.apps.values()].map((app) => app.close(signal)));
  }

  status(): Record<string, unknown> {
    const apps = [...this.apps.values()].filter((app) => app.isInstalled).map((app) => app.status());
    return { apps: apps.map(({ app, state, version }) => `${app} ${version} ${state}`) };
  }

  private list({ rights }: Call): object {
    const seen = [...this.apps.values()].filter((app) => app.isInstalled && rights.may('status', app.name));
    return { apps: seen.map((app) => app.status()) };
  }

  private async logs(call: Call): Promise<undefined> {
    await sendJournal(call, this.appOf(call).journal);
    return undefined;
  }

  private async offer({ params, request, caller: { id } }: Call): Promise<object> {
    const { heads } = this;
    if (heads.length >= MAX_HEADS || heads.filter((other) => other === id).length >= MAX_HEADS_PER_CALLER)
      throw codedError('EAGAIN', 'the host reads as many bundles as it can');
    heads.push(id);
    try {
      const bytes = await bytesOf(request, MAX_HEAD_BYTES);
      const taken = await this.uploadsOf().begin(params['app'], bytes);
      const { number } = taken.head.manifest;
      return 'unpacker' in taken
        ? { digest: taken.digest, number, state: 'expected', next: taken.unpacker.next }
        : { digest: taken.digest, number, state: 'installed' };
    } finally {
      heads.splice(heads.indexOf(id), 1);
    }
  }

  private async receive({ params, query, request }: Call): Promise<object> {
    const uploads = this.uploadsOf();
    const from = Number(query.get('from') ?? 0);
    const upload = await uploads.receive(params['app'], params['digest'], from, piecesOf(request));
    try {
      const { head, digest, folder } = upload;
      // Another bundle may have come first.
      if (this.check(head, digest) === 'new') this.newApp(params['app']).install(head, digest, folder);
      return { digest, number: head.manifest.number, state: 'installed' };
    } finally {
      uploads.forget(upload);
    }
  }

  private async activate(call: Call): Promise<object> {
    const { query } = call;
    const number = query.get('number');
    if (number !== null && !/^\d{1,16}$/.test(number))
      throw starlaneError('ERR_STARLANE_ARGUMENT', 'number must be that of a version');
    return this.appOf(call).activate(number === null ? undefined : Number(number), query.get('restore') !== 'false');
  }

  /** @throws ERR_STARLANE_BUNDLE_OLD; ERR_STARLANE_DEPLOY when the host takes no other app */
  private check({ manifest: { app: name, number } }: BundleHead, digest: string): 'installed' | 'new' {
    const app = this.apps.get(name);
    if (app?.version(number)?.digest === digest) return 'installed';
    if (app !== undefined && number <= app.highest)
      throw starlaneError(
        'ERR_STARLANE_BUNDLE_OLD',
        `the host has taken ${name} ${app.highest} before, and this is ${number}`,
      );
    const { maxApps } = (this.host as AgentHost).options;
    const isNew = app?.isInstalled !== true;
    const installed = [...this.apps.values()].filter((other) => other.isInstalled).length;
    if (isNew && (installed >= maxApps || (app === undefined && this.apps.size >= MAX_KNOWN)))
      throw starlaneError('ERR_STARLANE_DEPLOY', `the host has as many apps as it may (${maxApps})`);
    return 'new';
  }

  private newApp(name: string): App {
    const host = this.host as AgentHost;
    let app = this.apps.get(name);
    if (app === undefined) {
      const folder = join(host.folder.apps, name);
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      app = new App(name, folder, host);
      this.apps.set(name, app);
    }
    return app;
  }

  private appOf({ params }: Call): App {
    const app = this.apps.get(params['app']);
    if (app?.isInstalled === true) return app;
    throw codedError('ENOENT', `there is no app ${params['app']} here`);
  }

  private uploadsOf(): Uploads {
    if (this.uploads === undefined) throw starlaneError('ERR_STARLANE_DEPLOY', 'the agent is starting');
    return this.uploads;
  }
}
