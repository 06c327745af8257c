// The process of a job: a group of its own, which ends as a whole, also when the agent is killed.

import type { Readable, Writable } from 'node:stream';
import { ProcessGroup } from '../../services/publish/process-group.js';
import type { ProgramEnd } from '../../services/publish/restarts.js';
import { identityOf, type ProcessIdentity } from '../process-identity.js';
import type { JobCommand, JobProgram } from './declared.js';

export interface JobProcess {
  readonly identity: ProcessIdentity;
  readonly stdin: Writable | null;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Resolves when the program and all that it has started have ended. Output may still wait to be read. */
  readonly ended: Promise<ProgramEnd>;
  /** Sends SIGTERM to all of it, and SIGKILL to what is left after the time for that. */
  stop(): void;
  /** Sends SIGKILL to all of it. */
  kill(): void;
}

/** Starts the program of a job. @throws ENOENT, EACCES and others of spawn */
export async function startProcess(
  { cwd = '/', user, graceMs }: JobCommand,
  { argv, env }: JobProgram,
  hasInput: boolean,
): Promise<JobProcess> {
  const group = await ProcessGroup.start(argv, {
    env,
    cwd,
    ...(user === undefined ? {} : user),
    stdin: hasInput ? 'pipe' : 'ignore',
    stopTimeoutMs: graceMs,
  });
  const { stdin, stdout, stderr } = group.child;
  return {
    identity: identityOf(group.pid),
    stdin,
    stdout: stdout as Readable,
    stderr: stderr as Readable,
    ended: group.ended,
    stop: () => void group.stop(),
    kill: () => group.kill(),
  };
}
