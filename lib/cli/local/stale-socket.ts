// Takes the path of a unix socket that a killed process has left behind. Of several processes that find it at once, one gets the path: without
// that, the second one would remove the socket at which the first one has just begun to listen.

import { closeSync, lstatSync, openSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { codeOf } from '../../errors.js';

/** A process that does not answer within this time is there: it is busy, or was stopped. */
const PROBE_MS = 2_000;
/** A lock is held for the time of a probe. One that is older was left behind by a killed process. */
const STALE_LOCK_MS = 10_000;
const POLL_MS = 20;

/** Whether a process listens at the path. */
export function isAnswered(path: string): Promise<boolean> {
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
 * Removes the socket at the path if no process answers there, and listens. Returns false when a process answers, also one that has come
 * first.
 * @throws what `listenThere` throws
 */
export async function takeStale(path: string, listenThere: () => Promise<void>): Promise<boolean> {
  if (await isAnswered(path)) return false;
  return withLock(`${path}.lock`, async () => {
    // Between the first look and the lock, another process may have taken it.
    if (await isAnswered(path)) return false;
    rmSync(path, { force: true });
    try {
      await listenThere();
      return true;
    } catch (error) {
      // One that has found nothing at the path needs no lock.
      if (codeOf(error) === 'EADDRINUSE') return false;
      throw error;
    }
  });
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
