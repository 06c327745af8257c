// What a caller knows of a job that it has asked for in vain.

import { Duplex } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import { v7 as uuid } from 'uuid';
import { HostClient } from '../../../../../lib/cli/agent/host-client.js';
import { RemoteJob } from '../../../../../lib/cli/agent/jobs/caller/remote-job.js';
import type { Overlay } from '../../../../../lib/cli/run/overlay.js';
import { netError } from '../../../../../lib/errors.js';

/** Asks over circuits that the host accepts, or not, before they fail; returns the code of the error, and what was written. */
async function ask(isAccepted: boolean): Promise<{ code: string; written: string }> {
  let written = '';
  const dial = () => {
    const socket = new Duplex({
      read() {},
      write(chunk: Buffer, _encoding, done) {
        written += chunk;
        done();
        if (isAccepted) socket.destroy(netError('ECONNRESET', 'read'));
      },
    });
    process.nextTick(() => {
      if (isAccepted) socket.emit('connect');
      else socket.destroy(netError('ETIMEDOUT', 'connect'));
    });
    return socket;
  };
  const client = new HostClient({ dial } as unknown as Overlay, 'host');
  const job = new RemoteJob(client, uuid(), { hostName: 'host', patienceMs: 0 });
  const error = await job.submit({ command: 'print', params: {}, env: {}, input: false }).then(
    () => undefined,
    (thrown: NodeJS.ErrnoException) => thrown,
  );
  return { code: String(error?.code), written };
}

describe('a job whose host does not answer', () => {
  it('was certainly not started when no circuit came up', async () => {
    expect(await ask(false)).toEqual({ code: 'ETIMEDOUT', written: '' });
  });

  it('may have been started when a circuit was up', async () => {
    const { code, written } = await ask(true);
    expect(code).toBe('ERR_STARLANE_JOB_UNKNOWN');
    expect(written).toContain('PUT /v1/jobs/');
  });
});
