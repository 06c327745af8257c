// A member of a network that a `starlane` process has made, in this process: specs have its sockets in their hands.

import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createNode, type Node } from '../../lib/index.js';
import { enrol } from '../../lib/members/index.js';
import { DEADLINE_MS, within } from './deadline.js';

export interface Caller {
  readonly node: Node;
  close(): Promise<void>;
}

/** Joins with a token, and waits for a link. */
export async function callerWith(token: string, name?: string): Promise<Caller> {
  const folder = mkdtempSync(join(tmpdir(), 'starlane-caller-'));
  const credentials = join(folder, 'credentials');
  await enrol(token, { credentials, ...(name === undefined ? {} : { name }) });
  const node = createNode({ credentials });
  node.on('warning', () => {});
  if (node.links().length === 0) await within('a link', once(node, 'link'));
  return {
    node,
    close: async () => {
      await node.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Looks again and again at something of another process, which sends no event here. */
export async function until<T>(
  what: string,
  look: () => T | undefined | false | Promise<T | undefined | false>,
  deadlineMs = DEADLINE_MS,
): Promise<T> {
  const deadline = performance.now() + deadlineMs;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > deadline) throw new Error(`not within ${deadlineMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Whether a process runs; a zombie does not. */
export async function isRunning(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  const { readFile } = await import('node:fs/promises');
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return stat === '' || !/\) Z /.test(stat);
}
