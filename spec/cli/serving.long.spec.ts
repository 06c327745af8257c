// The gateway and the monitor by the command, as processes.

import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Command, Machine } from '../support/command.js';

const machine = new Machine();
let backend: http.Server;
let publisher: Command;
let waiting: http.ServerResponse[] = [];

beforeAll(async () => {
  backend = http.createServer((request, response) => {
    if (request.url === '/wait') {
      waiting.push(response);
      response.writeHead(200).write('begun ');
    } else response.end(`${request.method} ${request.url}`);
  });
  await new Promise<void>((resolve) => backend.listen(0, '127.0.0.1', resolve));
  const { port } = backend.address() as AddressInfo;
  publisher = (await machine.publish(['web', '--port', String(port)])).command;
});

afterAll(async () => {
  await machine.dispose();
  backend.closeAllConnections();
  backend.close();
});

interface Got {
  readonly status: number;
  readonly body: string;
}

function get(url: string, host: string, onResponse: () => void = () => {}): Promise<Got> {
  return new Promise((resolve, reject) => {
    const request = http.get(url, { headers: { host }, agent: false }, async (response) => {
      onResponse();
      let body = '';
      for await (const chunk of response) body += chunk;
      resolve({ status: response.statusCode ?? 0, body });
    });
    request.once('error', reject);
  });
}

async function urlOf(command: Command): Promise<string> {
  const [, url] = await command.waitFor(/ at (http:\/\/\S+)/, 'stdout');
  return url;
}

describe('starlane gateway', () => {
  it('beside a node that runs, brings requests to services by host, and ends with code 0', async () => {
    const gateway = machine.start(['gateway', '--port', '0', '--suffix', '.example.test', '--route', '/old=web']);
    const url = await urlOf(gateway);
    expect(await get(`${url}/path`, 'web.example.test')).toEqual({ status: 200, body: 'GET /path' });
    expect(await get(`${url}/old/path`, 'other.test')).toEqual({ status: 200, body: 'GET /old/path' });
    expect(await get(url, 'nothing.example.test')).toMatchObject({ status: 404 });
    expect(JSON.parse((await machine.run(['status', '--json'])).stdout)).toMatchObject({
      tasks: expect.arrayContaining([expect.objectContaining({ task: 'gateway', requests: 3 })]),
    });
    expect(await gateway.stop()).toMatchObject({ code: 0 });
  });

  it('serves curl', async () => {
    const gateway = machine.start(['gateway', '--port', '0', '--suffix', '.example.test']);
    const url = await urlOf(gateway);
    const args = ['--silent', '--show-error', '--max-time', '20', '--header', 'Host: web.example.test', `${url}/curl`];
    expect((await promisify(execFile)('curl', args)).stdout).toBe('GET /curl');
    expect(await gateway.stop()).toMatchObject({ code: 0 });
  });

  it('names a port that is taken, and a flag that does not fit', async () => {
    const { port } = backend.address() as AddressInfo;
    const busy = await machine.run(['gateway', '--port', String(port)]);
    expect(busy).toMatchObject({ code: 6, stdout: '' });
    expect(busy.stderr).toMatch(/^starlane: listen EADDRINUSE.*\n$/);
    expect(await machine.run(['gateway', '--route', 'web'])).toMatchObject({
      code: 2,
      stderr: 'starlane: --route web: must be HOST=TARGET, /PATH=TARGET or HOST/PATH=TARGET\n',
    });
    expect(await machine.run(['gateway', '--tls-port', '0'])).toMatchObject({ code: 2 });
  });
});

describe('starlane up with a gateway in its file', () => {
  it('reloads routes on SIGHUP without losing the answer that is under way, and finishes it on SIGTERM', async () => {
    const other = new Machine();
    try {
      await other.run(['init']);
      const { port } = backend.address() as AddressInfo;
      const file = join(other.folder, 'starlane.yaml');
      const content = (route: string) =>
        `listen: ['tls://127.0.0.1:0']\npublish:\n  web: { port: ${port} }\ngateway:\n  port: 0\n  route: ['${route}']\n  access-log: true\n`;
      writeFileSync(file, content('one.test=web'));
      const up = other.start(['up']);
      await up.waitFor(/^node \S+ runs/m, 'stdout');
      const { tasks } = JSON.parse((await other.run(['status', '--json'])).stdout) as {
        tasks: Array<{ task: string; listens: string }>;
      };
      const url = tasks.find(({ task }) => task === 'gateway')?.listens as string;

      waiting = [];
      const begun: Promise<void> = new Promise((resolve) => {
        void get(`${url}/wait`, 'one.test', resolve).then((got) => {
          answer = got;
        });
      });
      let answer: Got | undefined;
      await begun;
      writeFileSync(file, content('two.test=web'));
      up.signal('SIGHUP');
      await up.waitFor(/reloaded the configuration/, 'stderr');
      expect(await get(`${url}/x`, 'two.test')).toEqual({ status: 200, body: 'GET /x' });
      expect(await get(`${url}/x`, 'one.test')).toMatchObject({ status: 404 });

      writeFileSync(file, 'gateway: { prot: 1 }\n');
      up.signal('SIGHUP');
      await up.waitFor(/prot: unknown key/, 'stderr');
      expect(await get(`${url}/x`, 'two.test')).toEqual({ status: 200, body: 'GET /x' });

      up.signal('SIGTERM');
      await up.waitFor(/waiting for/, 'stderr');
      expect(waiting).toHaveLength(1);
      waiting[0].end('done');
      expect(await up.finish()).toMatchObject({ code: 0 });
      expect(answer).toEqual({ status: 200, body: 'begun done' });
      expect(up.stderr).toMatch(/GET one\.test\/wait 200 \d+ ms web/);
    } finally {
      await other.dispose();
    }
  });
});

describe('starlane metrics', () => {
  it('serves metrics, health and readiness', async () => {
    const metrics = machine.start(['metrics', '--port', '0']);
    const url = await urlOf(metrics);
    const of = (path: string) => get(new URL(path, url).href, 'localhost');
    expect(await of('/metrics')).toMatchObject({ status: 200, body: expect.stringMatching(/^starlane_links \d+$/m) });
    expect(await of('/health')).toMatchObject({ status: 200, body: expect.stringMatching(/"alive":true/) });
    expect(await of('/ready')).toMatchObject({ status: 200, body: expect.stringMatching(/"ready":true/) });
    expect(await of('/v1/streams')).toMatchObject({ status: 404 });
    expect(await metrics.stop()).toMatchObject({ code: 0 });
  });
});

describe('starlane monitor', () => {
  it('serves its page and its data beside a node that runs, for programs of this machine only', async () => {
    const monitor = machine.start(['monitor', '--port', '0']);
    const url = await urlOf(monitor);
    expect(await get(url, new URL(url).host)).toMatchObject({
      status: 200,
      body: expect.stringMatching(/^<!doctype html>/i),
    });
    expect(await get(url, 'evil.test')).toMatchObject({ status: expect.any(Number) });
    expect((await get(url, 'evil.test')).status).not.toBe(200);
    expect(await machine.run(['monitor', '--port', '0'])).toMatchObject({
      code: 6,
      stderr: 'starlane: monitor is already done by the process with the node\n',
    });
    expect(await monitor.stop()).toMatchObject({ code: 0 });
    await expect(get(url, new URL(url).host)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });

  it('refuses to serve others without a certificate', async () => {
    const { code, stderr } = await machine.run(['monitor', '--port', '0', '--bind', '0.0.0.0']);
    expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringMatching(/^starlane: .*\n$/) });
  });

  it('ends with code 3 when the process with the node does', async () => {
    const monitor = machine.start(['monitor', '--port', '0']);
    await urlOf(monitor);
    await publisher.stop('SIGKILL');
    expect(await monitor.finish()).toMatchObject({
      code: 3,
      stderr: expect.stringMatching(/^starlane: the .*node.* has ended\n$/),
    });
  });
});
