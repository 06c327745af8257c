// Joins a circuit with a local connection.

import type { Socket } from 'node:net';
import { pipeline } from 'node:stream';
import type { OverlaySocket } from '../../run/overlay.js';

/** Lets bytes flow both ways. Each half ends by itself, and a reset of one is a reset of the other: no reader takes a cut for an end. */
export function splice(local: Socket, circuit: OverlaySocket): void {
  const ignore = () => {};
  // Before pipeline sees it, which would end the connection as if all were well.
  circuit.once('error', () => {
    if (!local.destroyed && local.remoteFamily !== undefined) local.resetAndDestroy();
  });
  pipeline(local, circuit, ignore);
  pipeline(circuit, local, ignore);
}
