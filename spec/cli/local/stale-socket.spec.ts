// Several processes that want the same unix socket at once.

import { once } from 'node:events';
import { linkSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { listenAlone } from '../../../lib/cli/local/stale-socket.js';

let folder: string;
let path: string;
const servers: Server[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'starlane-socket-'));
  path = join(folder, 's.sock');
});

afterEach(() => {
  for (const server of servers.splice(0)) server.close();
  rmSync(folder, { recursive: true });
});

async function listen(at = path): Promise<void> {
  const server = createServer((socket) => socket.destroy());
  servers.push(server);
  server.listen(at);
  await once(server, 'listening');
}

/** Makes a socket at which nobody listens, as a killed process leaves it. */
async function leaveBehind(): Promise<void> {
  const other = join(folder, 'other.sock');
  const server = createServer().listen(other);
  await once(server, 'listening');
  linkSync(other, path);
  server.close();
  await once(server, 'close');
}

describe('a path', () => {
  it.each([
    ['that is free', async () => {}],
    ['where a killed process has left a socket', leaveBehind],
  ])('%s goes to one of several', async (_what, prepare) => {
    await prepare();
    const got = await Promise.all(Array.from({ length: 5 }, () => listenAlone(path, () => listen())));
    expect(got.filter((is) => is)).toHaveLength(1);
    expect(readdirSync(folder)).toEqual(['s.sock']);
  });

  it('stays with a process that has made its socket and does not take connections yet', async () => {
    let goOn = (): void => {};
    const gate = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    let made = (): void => {};
    const isMade = new Promise<void>((resolve) => {
      made = resolve;
    });
    const slow = listenAlone(path, async () => {
      await leaveBehind();
      made();
      await gate;
      rmSync(path);
      await listen();
    });
    await isMade;
    const second = listenAlone(path, () => listen());
    // The second one is held by the lock, whatever it sees before.
    expect(await Promise.race([second, new Promise((resolve) => setImmediate(resolve, 'waits'))])).toBe('waits');
    goOn();
    expect(await Promise.all([slow, second])).toEqual([true, false]);
  });

  it('that is no socket stays as it is', async () => {
    writeFileSync(path, 'precious');
    await expect(listenAlone(path, () => listen())).rejects.toMatchObject({ code: 'EADDRINUSE' });
    expect(readdirSync(folder)).toEqual(['s.sock']);
  });
});
