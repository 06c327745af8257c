// Takes the path of a unix socket, also one that a killed process has left behind. Of several processes that want it at once, one gets it: without
// that, a second one would remove the socket at which the first one has just begun to listen.

import { closeSync, lstatSync, openSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { codeOf } from '../../errors.js';

/** A process that does not answer within this time is there: it is busy, or was stopped. */
const PROBE_MS = 2_000;
/** A lock is held for the time of a probe. One that is older was left behind by a killed process. */
const STALE_LOCK_MS = 10_000;
const POLL_MS = 20;

export function isSocket(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isSocket() === true;
}

/** Whether a process listens at the path. */
function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const done = (is: boolean) => {
      socket.destroy();
      resolve(is);
    };
    socket.setTimeout(PROBE_MS, () => done(true));
    socket.once('connect', () => done(true));
    socket.once('error', (error) => done(codeOf(error) !== 'ECONNREFUSED' && codeOf(error) !== 'ENOENT'));
  });
}

/**
 * Listens at the path, and removes a socket there at which no process answers. Returns false when one does. Listening takes two steps, the
 * making of the file and the readiness for connections: in between a socket looks like one that was left behind, so that both need the lock.
 * @throws what `listenThere` throws, also EADDRINUSE where the path is no socket
 */
export async function listenAlone(path: string, listenThere: () => Promise<void>): Promise<boolean> {
  // The pipes of Windows go with their process.
  if (process.platform === 'win32') return listens(listenThere);
  // Without the lock: commands that find a process that hangs need not wait for each other.
  if (isSocket(path) && (await isAnswered(path))) return false;
  return withLock(`${path}.lock`, async () => {
    if (await listens(listenThere)) return true;
    if (await isAnswered(path)) return false;
    if (isSocket(path)) rmSync(path, { force: true });
    await listenThere();
    return true;
  });
}

/** Returns whether it listens now; false when something is in its place. */
async function listens(listenThere: () => Promise<void>): Promise<boolean> {
  try {
    await listenThere();
    return true;
  } catch (error) {
    if (codeOf(error) !== 'EADDRINUSE') throw error;
    return false;
  }
}

/**
 * Runs `work` while no other process of this machine does so with the same path, which is that of a file of its own.
 * @throws what `work` throws, or what keeps the file from being made
 */
export async function withLock<T>(path: string, work: () => T | Promise<T>): Promise<T> {
  while (!take(path)) await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  try {
    return await work();
  } finally {
    rmSync(path, { force: true });
  }
}

function take(path: string): boolean {
  try {
    closeSync(openSync(path, 'wx', 0o600));
    return true;
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error;
  }
  const made = lstatSync(path, { throwIfNoEntry: false });
  if (made !== undefined && Math.abs(Date.now() - made.mtimeMs) > STALE_LOCK_MS) rmSync(path, { force: true });
  return false;
}
