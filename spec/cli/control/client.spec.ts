// A command that asks a node which does not answer.

import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { ControlClient } from '../../../lib/cli/control/client.js';
import { exitCodeOf, lineOf } from '../../../lib/cli/failure.js';

describe('a request to a running node', () => {
  it('fails with code 3 when that node does not answer in time', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'starlane-silent-'));
    const path = join(folder, 'silent.sock');
    const server = net.createServer(() => {});
    try {
      await once(server.listen(path), 'listening');
      const error = await new ControlClient(path).get('/control/status', 20).catch((reason) => reason);
      expect(lineOf(error)).toBe('the running node does not answer within 0.02 s');
      expect(exitCodeOf(error)).toBe(3);
    } finally {
      server.close();
      rmSync(folder, { recursive: true });
    }
  });
});
