// An issuer in a separate process, which may die at any step. Commands and answers are JSON lines.

import { createInterface } from 'node:readline';
import { crashAfter } from './crash-points.mjs';

/**
 * @param {any} starlane the library
 * @param {{ folder: string, listen: string }} options
 * @param {(line: object) => void} say
 */
export async function issuer(starlane, { folder, listen }, say) {
  const node = starlane.createNode({ credentials: folder });
  node.on('warning', ({ code, message }) => say({ event: 'warning', code, message }));
  const { address } = await node.listenAndServe(listen);
  say({ event: 'listening', address, nodeId: node.id });
  const commands = {
    async invite({ options }) {
      return { token: await node.invite(options) };
    },
    async join({ address: other }) {
      await node.join(other);
    },
    async revoke({ who }) {
      return await node.revoke(who);
    },
    async close() {
      await node.close();
    },
    async crash({ after }) {
      crashAfter(after);
    },
  };
  createInterface({ input: process.stdin }).on('line', (text) => {
    const command = JSON.parse(text);
    commands[command.do](command).then(
      (answer) => say({ id: command.id, ...answer }),
      (error) => say({ id: command.id, failed: error.message, code: error.code }),
    );
  });
}
