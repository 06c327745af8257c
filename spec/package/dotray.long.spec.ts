// The five terminals of Dotray's demo as processes: what two of them send reaches the others, whichever is killed.

import { once } from 'node:events';
import { cpSync, mkdirSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { builtUrl } from '../support/built-lib.js';
import { Child } from '../support/child.js';

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const APP = join(ROOT, 'node_modules/.cache', `starlane-dotray-${process.pid}`);
/** Who the five are linked with at first, and what two of them send. */
const SEEDS = [undefined, 0, 1, 2, 2] as const;
const NAMES = [undefined, undefined, '3', undefined, '5'] as const;

let running: Child[] = [];

beforeAll(() => {
  const starlane = join(APP, 'node_modules/starlane');
  mkdirSync(starlane, { recursive: true });
  cpSync(join(ROOT, 'examples/adapters/dotray.mjs'), join(APP, 'dotray.mjs'));
  cpSync(join(ROOT, 'package.json'), join(starlane, 'package.json'));
  cpSync(dirname(fileURLToPath(builtUrl('index.js'))), join(starlane, 'dist'), { recursive: true });
}, 60_000);

afterEach(() => Promise.all(running.map((one) => one.stop())));
afterAll(() => rmSync(APP, { recursive: true, force: true }));

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  for (const server of servers) server.close();
  return ports;
}

async function startFive(): Promise<Child[]> {
  const ports = await freePorts(5);
  running = [];
  for (const [index, seed] of SEEDS.entries()) {
    const args = ['-l', `127.0.0.1:${ports[index]}`, '--every', '200'];
    if (seed !== undefined) args.push('-s', `127.0.0.1:${ports[seed]}`);
    const name = NAMES[index];
    if (name !== undefined) args.push('-m', '-i', name);
    const child = new Child(process.execPath, [join(APP, 'dotray.mjs'), ...args], { cwd: APP });
    running.push(child);
    await child.waitFor('its start', ({ text }) => /^listening/.test(String(text)));
  }
  return running;
}

/** Resolves when a terminal has printed this after what it has printed so far. */
async function hears(child: Child, name: string): Promise<void> {
  const from = child.lines.length;
  await child.waitFor(`hello-${name}`, (line) => {
    return child.lines.indexOf(line) >= from && String(line['text']).startsWith(`receive message: hello-${name} `);
  });
}

describe("Dotray's demo", () => {
  it.each([0, 1, 2, 3, 4])(
    'goes on when terminal %i is killed',
    async (victim) => {
      const five = await startFive();
      const check = (left: readonly number[]) =>
        Promise.all(
          left.flatMap((to) =>
            left
              .filter((from) => from !== to && NAMES[from] !== undefined)
              .map((from) => hears(five[to] as Child, NAMES[from] as string)),
          ),
        );
      await check([0, 1, 2, 3, 4]);
      five[victim]?.kill('SIGKILL');
      await five[victim]?.exited;
      await check([0, 1, 2, 3, 4].filter((index) => index !== victim));
      expect(running).toHaveLength(5);
    },
    90_000,
  );
});
