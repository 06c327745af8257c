// Apps at a host where something fails: state that cannot be written, bundles that break off, callers that take what others need.

import { mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterEach, describe, expect, it } from '@jest/globals';
import type { AppStatus } from '../../../lib/cli/agent/apps/app.js';
import { AppsPart } from '../../../lib/cli/agent/apps/part.js';
import type { Manifest } from '../../../lib/cli/agent/bundle/manifest.js';
import type { HostClient } from '../../../lib/cli/agent/host-client.js';
import { AgentNet } from '../../support/agent-net.js';
import { activate, bundleOf, newKey, send } from '../../support/bundles.js';
import { until } from '../../support/caller.js';
import { within } from '../../support/deadline.js';

const key = newKey();
const FILES = { 'main.mjs': 'setInterval(() => {}, 1000);' };
const ALLOW = ['members=n0 rights=deploy,logs', 'members=n2 rights=deploy apps=other'];

let net: AgentNet;
let host: HostClient;

afterEach(async () => net.close());

async function begin(): Promise<void> {
  net = await AgentNet.of(3);
  await restart();
}

async function restart(): Promise<void> {
  await net.agent(1, { allow: ALLOW, signers: [key.signer] }, [new AppsPart()]);
  host = net.client(0, 1);
}

const web = (number: number, more: Partial<Manifest> = {}, files: Record<string, string> = FILES) =>
  bundleOf(files, key, { number, version: `${number}.0.0`, ...more });

const status = (): Promise<AppStatus> =>
  host.ask({ method: 'GET', path: '/v1/apps/web', timeoutMs: 10_000 }) as Promise<AppStatus>;

const folder = () => join(net.folder, 'agent1/apps/web');
/** No state can be written, as on a full disk. */
const fill = () => mkdirSync(join(folder(), 'state.json.new'));
const empty = () => rmdirSync(join(folder(), 'state.json.new'));

describe('a host whose disk is full', () => {
  it('does not take a version for the current one that it could not write down', async () => {
    await begin();
    for (const number of [1, 2]) await send(host, web(number));
    await activate(host, 1);
    const { pid } = await status();
    fill();
    await expect(activate(host, 2)).rejects.toThrow();
    expect(await status()).toMatchObject({ number: 1, state: 'healthy', pid });
    empty();
    expect(await activate(host, 2)).toMatchObject({ number: 2, previous: 1, changed: true });
    expect((await status()).pid).not.toBe(pid);
  });

  it('goes back when a version is healthy, and that cannot be written down', async () => {
    await begin();
    for (const number of [1, 2])
      await send(host, web(number, { health: { ...web(1).manifest.health, settleMs: 400 } }));
    await activate(host, 1);
    const { pid } = await status();
    const end = activate(host, 2);
    end.catch(() => {});
    await until('the state', async () => {
      const now = await status();
      return now.number === 2 && now.pid !== null && now.pid !== pid;
    });
    fill();
    await expect(end).rejects.toThrow(/version 1 runs again/);
    await until('the state', async () => (await status()).state === 'healthy');
    expect(await status()).toMatchObject({ number: 1 });
  });

  it('starts a program again that has ended, once', async () => {
    await begin();
    await send(host, web(1));
    await activate(host, 1);
    const { pid } = await status();
    fill();
    process.kill(pid as number, 'SIGKILL');
    await until('the state', async () => (await status()).restarts === 1 && (await status()).state === 'healthy');
    const next = (await status()).pid as number;
    await host.ask({ method: 'GET', path: '/v1/apps', timeoutMs: 10_000 });
    expect((await status()).pid).toBe(next);
  });

  it('can stop and remove an app, and says that it starts again', async () => {
    await begin();
    await send(host, web(1));
    await activate(host, 1);
    const { pid } = await status();
    fill();
    await expect(host.ask({ method: 'POST', path: '/v1/apps/web/stop', timeoutMs: 20_000 })).rejects.toMatchObject({
      code: 'ERR_STARLANE_DEPLOY',
      message: expect.stringMatching(/cannot be written down/),
    });
    expect(() => process.kill(pid as number, 0)).toThrow();
    empty();
    expect(await host.ask({ method: 'DELETE', path: '/v1/apps/web', timeoutMs: 20_000 })).toMatchObject({
      removed: true,
    });
  });

  it('starts with all of its apps', async () => {
    await begin();
    await send(host, web(1));
    await activate(host, 1);
    await net.stop(1);
    const file = join(folder(), 'state.json');
    // As an agent leaves it that is killed.
    const state = { ...JSON.parse(readFileSync(file, 'utf8')), group: { pid: 2 ** 30, ticks: '1', boot: 'never' } };
    writeFileSync(file, JSON.stringify(state));
    fill();
    await restart();
    await until('the state', async () => (await status()).state === 'healthy');
  });
});

describe('a sender', () => {
  it('that sends its head slowly keeps no other one from deploying', async () => {
    await begin();
    const slow = Array.from({ length: 8 }, () => {
      const body = new PassThrough();
      body.write('m');
      const asked = net
        .client(2, 1)
        .ask({ method: 'POST', path: '/v1/apps/other/versions', body, timeoutMs: 60_000 })
        .catch((error: Error) => error);
      return { body, asked };
    });
    try {
      // Those that are too many are refused; the others wait.
      await within('refusals', Promise.race(slow.map(({ asked }) => asked)));
      await send(host, web(1));
    } finally {
      for (const { body } of slow) body.destroy();
      await Promise.all(slow.map(({ asked }) => asked));
    }
  });

  it('that offers a bundle twice at once gets one place for it', async () => {
    await begin();
    const { head } = web(1);
    const offer = () => host.ask({ method: 'POST', path: '/v1/apps/web/versions', body: head, timeoutMs: 10_000 });
    await Promise.all([offer(), offer()]);
    expect(readdirSync(join(net.folder, 'agent1/incoming'))).toHaveLength(1);
  });
});
