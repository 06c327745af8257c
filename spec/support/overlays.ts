// The two overlays that a task may get: the node of its own process, and that of another one through a control socket.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ControlClient, ControlOverlay } from '../../lib/cli/control/client.js';
import { ControlServer } from '../../lib/cli/control/server.js';
import { ControlSession } from '../../lib/cli/control/session.js';
import type { Log } from '../../lib/cli/log.js';
import { NodeOverlay, type Overlay } from '../../lib/cli/run/overlay.js';
import type { TaskHost } from '../../lib/cli/run/task.js';
import type { Node } from '../../lib/index.js';

export type OverlayKind = 'of the process' | 'of another process';
export const OVERLAY_KINDS: readonly OverlayKind[] = ['of the process', 'of another process'];

/** A task host with what it has logged. */
export interface SpecHost extends TaskHost {
  readonly warnings: string[];
  readonly faults: Error[];
  /** Of the second kind only. */
  readonly session: ControlSession | undefined;
  readonly control: ControlServer | undefined;
  close(): Promise<void>;
}

export async function taskHost(kind: OverlayKind, node: Node): Promise<SpecHost> {
  const warnings: string[] = [];
  const faults: Error[] = [];
  const log: Log = {
    debug: () => {},
    info: () => {},
    warn: (text) => warnings.push(text),
    error: (text) => warnings.push(text),
    output: () => {},
  };
  const fail = (error: Error) => faults.push(error);
  const host = (overlay: Overlay) => ({ overlay, log, fail, warnings, faults });
  if (kind === 'of the process') {
    return { ...host(new NodeOverlay(node)), session: undefined, control: undefined, close: async () => {} };
  }
  const folder = mkdtempSync(join(tmpdir(), 'starlane-control-'));
  const control = new ControlServer(join(folder, 'node.sock'));
  await control.listen();
  control.serve({
    node,
    offers: true,
    status: () => ({ id: node.id }),
    reload: async () => {},
    start: () => Promise.reject(new Error('not here')),
  });
  const session = (await ControlSession.open(control.path)) as ControlSession;
  return {
    ...host(new ControlOverlay(new ControlClient(control.path), session, fail)),
    session,
    control,
    close: async () => {
      session.close();
      await control.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
