// Waits until a node has a link, and says why if it gets none.

import { readCredentials } from '../../identity/credentials.js';
import type { Node } from '../../node/node.js';
import { ExitCode, exitCodeOf, Failure, lineOf } from '../failure.js';

/**
 * @param credentials the folder, if the node is a member
 * @throws Failure with the last reason, or that the certificate has expired
 */
export async function firstLink(node: Node, timeoutMs: number, credentials?: string): Promise<void> {
  if (node.links().length > 0) return;
  let lastFault: Error | undefined;
  const onWarning = (error: Error) => {
    lastFault = error;
  };
  node.on('warning', onWarning);
  try {
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        node.removeListener('link', onLink);
        const expired = credentials === undefined ? undefined : expiryOf(credentials);
        if (expired !== undefined) {
          reject(expired);
          return;
        }
        const reason = lastFault === undefined ? 'no address to join is known' : lineOf(lastFault);
        const exitCode = lastFault === undefined ? ExitCode.UNREACHABLE : exitCodeOf(lastFault);
        const seconds = Math.round(timeoutMs / 100) / 10;
        reject(
          new Failure(
            `the network cannot be reached within ${seconds} s: ${reason}`,
            exitCode === ExitCode.REFUSED ? exitCode : ExitCode.UNREACHABLE,
          ),
        );
      }, timeoutMs);
      const onLink = () => {
        clearTimeout(timer);
        resolve();
      };
      node.once('link', onLink);
    });
  } finally {
    node.removeListener('warning', onWarning);
  }
}

/** Returns the failure of a member whose certificate has expired; nobody links to it then. */
function expiryOf(credentials: string): Failure | undefined {
  const { notAfterMs } = readCredentials(credentials).member;
  if (Date.now() <= notAfterMs) return undefined;
  const since = new Date(notAfterMs).toISOString().slice(0, 16).replace('T', ' ');
  return new Failure(
    `the certificate of this machine expired at ${since} UTC, and was not renewed; remove ${credentials}, and join with a new token`,
    ExitCode.REFUSED,
  );
}
