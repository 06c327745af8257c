// Waits until a node has a link, and says why if it gets none.

import type { Node } from '../../node/node.js';
import { ExitCode, exitCodeOf, Failure, lineOf } from '../failure.js';

/** @throws Failure with the last reason */
export async function firstLink(node: Node, timeoutMs: number): Promise<void> {
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
