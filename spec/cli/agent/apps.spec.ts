// Apps at a host: from a signed bundle to a service, and what is refused, undone, kept and ended.

import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from '@jest/globals';
import type { AppStatus } from '../../../lib/cli/agent/apps/app.js';
import { AppsPart } from '../../../lib/cli/agent/apps/part.js';
import { type Disk, REAL_DISK } from '../../../lib/cli/agent/apps/uploads.js';
import type { Manifest } from '../../../lib/cli/agent/bundle/manifest.js';
import type { HostClient } from '../../../lib/cli/agent/host-client.js';
import type { AgentValues } from '../../../lib/cli/agent/options.js';
import { AgentNet } from '../../support/agent-net.js';
import { activate, bundleOf, newKey, SERVER, send } from '../../support/bundles.js';
import { until } from '../../support/caller.js';
import { within } from '../../support/deadline.js';

const key = newKey();
const FILES = { 'main.mjs': SERVER };
const SERVICES = [{ name: 'web', port: 'PORT', check: '/' }];
const ALLOW = ['members=n0 rights=deploy,logs', 'members=n2 rights=status'];

let net: AgentNet;
let host: HostClient;

afterEach(async () => net.close());

async function begin(values: Partial<AgentValues> = {}, disk: Disk = REAL_DISK): Promise<void> {
  net = await AgentNet.of(3);
  await restart(values, disk);
}

async function restart(values: Partial<AgentValues> = {}, disk: Disk = REAL_DISK): Promise<void> {
  await net.agent(1, { allow: ALLOW, signers: [key.signer], ...values }, [new AppsPart(disk)]);
  host = net.client(0, 1);
}

const web = (number: number, more: Partial<Manifest> = {}, files: Record<string, string> = FILES) =>
  bundleOf(files, key, { number, version: `${number}.0.0`, services: SERVICES, ...more });

const status = (app = 'web'): Promise<AppStatus> =>
  host.ask({ method: 'GET', path: `/v1/apps/${app}`, timeoutMs: 10_000 }) as Promise<AppStatus>;

const post = (path: string): Promise<unknown> =>
  host.ask({ method: 'POST', path: `/v1/apps/${path}`, timeoutMs: 30_000 });

/** Asks the service as another node does. */
function answer(service = 'web'): Promise<string> {
  const node = net.net.net.nodes[2];
  return within(
    `an answer of ${service}`,
    new Promise((resolve, reject) => {
      const request = get(
        { path: '/', headers: { host: service }, createConnection: () => node.dial(service) as never },
        (response) => {
          let text = '';
          response.setEncoding('utf8');
          response.on('data', (piece) => {
            text += piece;
          });
          response.on('end', () => resolve(text));
        },
      );
      request.on('error', reject);
    }),
  );
}

describe('a deployment', () => {
  it('becomes a service, and the next version takes its place', async () => {
    await begin();
    await send(host, web(1));
    expect(await activate(host, 1)).toMatchObject({ number: 1, previous: null, changed: true });
    expect(await answer()).toBe('1.0.0');
    await send(host, web(2));
    expect(await activate(host, 2)).toMatchObject({ number: 2, previous: 1, changed: true });
    expect(await answer()).toBe('2.0.0');
    expect(await activate(host, 2)).toMatchObject({ number: 2, changed: false });
    expect(await status()).toMatchObject({
      state: 'healthy',
      number: 2,
      previous: 1,
      versions: [{ number: 1 }, { number: 2 }],
    });
  });

  it('that does not become healthy is undone, and says what the program has printed', async () => {
    await begin();
    await send(host, web(1));
    await activate(host, 1);
    const health = { ...web(1).manifest.health, withinMs: 700 };
    await send(host, web(2, { env: { FAILS: 'true' }, health }));
    await expect(activate(host, 2)).rejects.toMatchObject({
      code: 'ERR_STARLANE_DEPLOY',
      message: expect.stringMatching(/status 500.*version 1 runs again.*runs as 2\.0\.0/s),
    });
    await until('version 1', async () => (await status()).state === 'healthy');
    expect(await answer()).toBe('1.0.0');
    expect(await status()).toMatchObject({ number: 1, previous: null });
  });

  it('whose program cannot be started is undone', async () => {
    await begin();
    await send(host, web(1, { command: ['./nothing'] }));
    await expect(activate(host, 1)).rejects.toThrow(/no such program.*stopped, as it was before/);
    expect(await status()).toMatchObject({ state: 'stopped', number: null });
  });

  it('is rolled back to a version that the host has kept, and to no other', async () => {
    await begin();
    for (const number of [1, 2]) {
      await send(host, web(number));
      await activate(host, number);
    }
    expect(await activate(host)).toMatchObject({ number: 1 });
    expect(await answer()).toBe('1.0.0');
    await expect(activate(host, 7)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('keeps as many versions as it may, and the one that runs', async () => {
    await begin({ keepVersions: 2 });
    await send(host, web(1));
    await activate(host, 1);
    for (const number of [2, 3, 4]) await send(host, web(number));
    expect((await status()).versions.map(({ number }) => number)).toEqual([1, 3, 4]);
    expect(readdirSync(join(net.folder, 'agent1/apps/web/versions')).sort()).toEqual(['1', '3', '4']);
  });

  it('cannot be changed by two at once', async () => {
    await begin();
    await send(host, web(1));
    await send(host, web(2));
    const ends = await Promise.allSettled([activate(host, 1), activate(host, 2)]);
    const [refused] = ends.flatMap((end) => (end.status === 'rejected' ? [end.reason] : []));
    expect(ends.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(refused).toMatchObject({ code: 'EBUSY', message: 'another change of web is under way' });
  });
});

describe('a host refuses', () => {
  it('a bundle that is older than one that it has taken, also after the app was removed', async () => {
    await begin();
    const old = web(1);
    await send(host, old);
    await send(host, web(2));
    await activate(host, 2);
    await expect(send(host, web(1, { version: 'other' }))).rejects.toMatchObject({ code: 'ERR_STARLANE_BUNDLE_OLD' });
    await host.ask({ method: 'DELETE', path: '/v1/apps/web', timeoutMs: 20_000 });
    await expect(status()).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(send(host, old)).rejects.toMatchObject({ code: 'ERR_STARLANE_BUNDLE_OLD' });
    await net.stop(1);
    await restart();
    await expect(send(host, web(2))).rejects.toMatchObject({ code: 'ERR_STARLANE_BUNDLE_OLD' });
  });

  it('a bundle that was tampered with, and keeps nothing of it', async () => {
    await begin();
    const bundle = web(1);
    const tar = Buffer.from(bundle.tar);
    tar[600] ^= 1;
    await expect(send(host, { ...bundle, tar })).rejects.toMatchObject({ code: 'ERR_STARLANE_BUNDLE' });
    expect(readdirSync(join(net.folder, 'agent1/incoming'))).toEqual([]);
    expect(existsSync(join(net.folder, 'agent1/apps/web'))).toBe(false);
    await send(host, bundle);
  });

  it('the bundle of a signer that it does not list', async () => {
    await begin();
    await expect(send(host, bundleOf(FILES, newKey()))).rejects.toMatchObject({
      code: 'ERR_STARLANE_BUNDLE_SIGNATURE',
    });
    expect(readdirSync(join(net.folder, 'agent1/incoming'))).toEqual([]);
  });

  it('a member without the right, whatever it asks for', async () => {
    await begin();
    await send(host, web(1));
    const other = net.client(2, 1);
    const ask = (method: 'GET' | 'POST' | 'DELETE' | 'PUT', path: string) =>
      other.ask({ method, path, timeoutMs: 10_000 });
    for (const refused of [
      send(other, web(2)),
      activate(other, 1),
      ask('POST', '/v1/apps/web/stop'),
      ask('DELETE', '/v1/apps/web'),
      ask('GET', '/v1/apps/web/logs'),
      ask('PUT', '/v1/apps/web/versions/0?from=0'),
    ])
      await expect(refused).rejects.toMatchObject({ code: 'EACCES' });
    await expect(ask('GET', '/v1/apps')).resolves.toMatchObject({ apps: [{ app: 'web' }] });
  });

  it('what it has no room for', async () => {
    await begin({ maxBundle: 1, maxDisk: 2, maxApps: 1 });
    const mib = (number: number, app: string, size: number) =>
      bundleOf({ ...FILES, big: 'x'.repeat(size * 1024 * 1024) }, key, { number, app });
    await expect(send(host, mib(1, 'web', 1.5))).rejects.toMatchObject({ code: 'ERR_STARLANE_BUNDLE' });
    await send(host, mib(1, 'web', 0.9));
    await send(host, mib(2, 'web', 0.9));
    await expect(send(host, mib(3, 'web', 0.9))).rejects.toMatchObject({ code: 'ENOSPC' });
    await expect(send(host, mib(1, 'api', 0.1))).rejects.toMatchObject({ code: 'ERR_STARLANE_DEPLOY' });
  });

  it('a bundle for which the disk is too full, before or while it comes', async () => {
    let isFull = false;
    let free = 1_000;
    const disk: Disk = {
      freeBytes: async () => free,
      write: async (file, piece) => {
        if (isFull) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
        await file.writeFile(piece);
      },
    };
    await begin({}, disk);
    await expect(send(host, web(1))).rejects.toMatchObject({ code: 'ENOSPC' });
    free = 1e12;
    isFull = true;
    await expect(send(host, web(1))).rejects.toMatchObject({ code: 'ENOSPC' });
    expect(readdirSync(join(net.folder, 'agent1/incoming'))).toEqual([]);
    expect(existsSync(join(net.folder, 'agent1/apps/web'))).toBe(false);
    isFull = false;
    await send(host, web(1));
  });
});

describe('an app', () => {
  it('is stopped, started and restarted, and stays so when the agent starts again', async () => {
    await begin();
    await send(host, web(1));
    await activate(host, 1);
    const { pid } = await status();
    expect(await post('web/restart')).toMatchObject({ state: 'healthy' });
    expect((await status()).pid).not.toBe(pid);
    await net.stop(1);
    expect(() => process.kill(pid as number, 0)).toThrow();
    await restart();
    await until('the app', async () => (await status()).state === 'healthy');
    expect(await answer()).toBe('1.0.0');
    expect(await post('web/stop')).toMatchObject({ state: 'stopped', pid: null });
    await net.stop(1);
    await restart();
    expect(await status()).toMatchObject({ state: 'stopped' });
    expect(await post('web/start')).toMatchObject({ state: 'healthy' });
  });

  it('starts again when its program has ended, and is no service meanwhile', async () => {
    await begin();
    // No check comes so soon.
    await send(host, web(1, { health: { ...web(1).manifest.health, intervalMs: 60_000 } }));
    await activate(host, 1);
    process.kill((await status()).pid as number, 'SIGKILL');
    await until('its end', async () => (await status()).state === 'down');
    expect((await status()).fault).toBe('its program has ended (SIGKILL)');
    await until('its next start', async () => (await status()).state === 'healthy');
    expect(await status()).toMatchObject({ restarts: 1 });
    expect(await answer()).toBe('1.0.0');
  });

  it('has its version, its data folder and its port in the environment, and nothing of the agent', async () => {
    await begin();
    const script = `import { writeFileSync } from 'node:fs';
      writeFileSync(process.env.DATA_FOLDER + '/env', JSON.stringify(process.env)); setInterval(() => {}, 1000);`;
    await send(
      host,
      bundleOf({ 'main.mjs': script }, key, {
        env: { MODE: 'test' },
        health: { ...web(1).manifest.health, settleMs: 300 },
      }),
    );
    await activate(host, 1);
    const file = join(net.folder, 'agent1/apps/web/data/env');
    await until('its file', () => existsSync(file) && readFileSync(file, 'utf8') !== '');
    const env = JSON.parse(readFileSync(file, 'utf8'));
    expect(env).toMatchObject({
      MODE: 'test',
      APP_VERSION: '1.0.0',
      DATA_FOLDER: join(net.folder, 'agent1/apps/web/data'),
    });
    expect(Object.keys(env).filter((name) => name.startsWith('STARLANE'))).toEqual([]);
  });

  it('whose state is damaged is refused, and not taken for a new one', async () => {
    await begin();
    await send(host, web(5));
    await net.stop(1);
    writeFileSync(join(net.folder, 'agent1/apps/web/state.json'), '{"highest":');
    await restart();
    await expect(send(host, web(1))).rejects.toMatchObject({
      code: 'ERR_STARLANE_DEPLOY',
      message: expect.stringMatching(/damaged/),
    });
  });

  it('leaves its data when it is removed, unless that is asked for', async () => {
    await begin();
    await send(host, web(1));
    await activate(host, 1);
    const data = join(net.folder, 'agent1/apps/web/data');
    const remove = (query: string) => host.ask({ method: 'DELETE', path: `/v1/apps/web${query}`, timeoutMs: 20_000 });
    expect(await remove('')).toMatchObject({ data: 'kept' });
    expect(existsSync(data)).toBe(true);
    await send(host, web(2));
    expect(await remove('?data=true')).toMatchObject({ data: 'removed' });
    expect(existsSync(data)).toBe(false);
  });
});
