// starlane mcp

import { pipeline } from 'node:stream';
import { defineCommand } from '../command.js';
import { ExitCode, Failure, lineOf } from '../failure.js';
import type { OverlaySocket } from '../run/overlay.js';
import { nodeValues, useNetwork } from '../run/use-network.js';

/** How long the server may take to end when the client has ended. */
const LEAVE_MS = 5_000;

export const mcp = defineCommand({
  name: 'mcp',
  summary: 'use an MCP server of the network, over standard input and output',
  description:
    'For the configuration of an MCP client. It ends when the server ends; standard output has nothing but what the server says.',
  args: [{ name: 'NAME', about: 'the service, as starlane publish --mcp has named it' }],
  usesNode: true,
  flags: {},
  examples: [
    { line: 'starlane mcp files', about: 'the command of the server, for the configuration of a client' },
    { line: 'starlane mcp files --join TOKEN', about: 'on a machine that is no member yet' },
  ],
  async run(context, [name]) {
    const { stdin, stdout, log } = context;
    const access = await useNetwork(context, { needsLink: true, isClient: true });
    let dialled: OverlaySocket | undefined;
    try {
      const circuit = access.overlay.dial(name, { timeoutMs: nodeValues(context).timeout });
      dialled = circuit;
      const ended = new Promise<void>((resolve, reject) => {
        let isLeaving = false;
        const leave = () => {
          isLeaving = true;
          setTimeout(resolve, LEAVE_MS).unref();
        };
        for (const signal of ['SIGINT', 'SIGTERM'] as const) {
          process.once(signal, () => {
            leave();
            circuit.end();
            circuit.destroy();
            resolve();
          });
        }
        stdin.once('end', leave);
        circuit.once('error', (error) => (isLeaving ? resolve() : reject(error)));
        circuit.once('end', () => {
          if (isLeaving) resolve();
          else reject(new Failure(`the MCP server ${name} has ended`, ExitCode.FAILURE));
        });
        circuit.once('close', () => resolve());
        circuit.once('connect', () =>
          log.debug(`the MCP server ${name} is at ${circuit.peer?.name ?? circuit.peer?.id}`),
        );
      });
      pipeline(stdin, circuit, () => {});
      circuit.pipe(stdout, { end: false });
      await ended;
      return ExitCode.OK;
    } catch (error) {
      // Its other direction is open as long as the client writes, and would keep the node from its end.
      dialled?.destroy();
      if (error instanceof Failure) throw error;
      throw Object.assign(new Error(`the MCP server ${name}: ${lineOf(error)}`), {
        code: (error as { code?: string }).code,
      });
    } finally {
      await access.close();
      // Its end may never come, as when a client keeps the pipe open.
      stdin.destroy();
    }
  },
});
