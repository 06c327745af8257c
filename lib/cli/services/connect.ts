// starlane connect

import type { Readable, Writable } from 'node:stream';
import { reset } from '../../socket/passage.js';
import { type Command, defineCommand } from '../command.js';
import { ExitCode, exitCodeOf, Failure, lineOf } from '../failure.js';
import type { OverlaySocket } from '../run/overlay.js';
import { checkedTarget } from '../run/target.js';
import { nodeValues, useNetwork } from '../run/use-network.js';

/**
 * Lets bytes flow from standard input to the circuit, and from the circuit to standard output. Resolves when the service has ended and
 * everything is written; with a terminal, no end of the input is waited for.
 * @throws the error of the circuit
 */
function carry(circuit: OverlaySocket, stdin: Readable, stdout: Writable, isTerminal: boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    let isWritten = false;
    const finish = () => {
      if (isWritten && (circuit.writableFinished || isTerminal)) resolve();
    };
    circuit.on('data', (chunk: Buffer) => {
      if (!stdout.write(chunk)) circuit.pause();
    });
    stdout.on('drain', () => circuit.resume());
    circuit.once('end', () => {
      // Also when nothing waits to be written: the callback comes behind everything.
      stdout.write('', () => {
        isWritten = true;
        finish();
      });
    });
    circuit.once('finish', finish);
    circuit.once('error', (error) => reject(isWritten && stdin.readableEnded ? undefined : error));
    circuit.once('close', () => {
      if (!circuit.readableEnded) reject(new Failure('the circuit was closed', ExitCode.UNREACHABLE));
    });
    stdin.on('data', (chunk: Buffer) => {
      if (!circuit.write(chunk)) stdin.pause();
    });
    circuit.on('drain', () => stdin.resume());
    stdin.once('end', () => circuit.end());
    stdin.once('error', (error) => {
      reset(circuit);
      reject(error);
    });
  });
}

/** Resolves with the exit code when a signal asks the process to end. */
function interrupted(): Promise<number> {
  return new Promise((resolve) => {
    process.once('SIGINT', () => resolve(130));
    process.once('SIGTERM', () => resolve(143));
    process.once('SIGHUP', () => resolve(129));
  });
}

export const connect: Command = defineCommand({
  name: 'connect',
  summary: 'connect standard input and output with a service',
  description:
    'SERVICE may be NAME, NAME:PORT or @ID:PORT. The end of the input ends that direction only; it exits with 0 when the service has ended.',
  args: [{ name: 'SERVICE', about: 'the service' }],
  usesNode: true,
  flags: {},
  examples: [
    { line: 'echo ping | starlane connect echo', about: 'send, and print the answer' },
    { line: "ssh -o ProxyCommand='starlane connect ssh' host", about: 'to the sshd that is published as ssh' },
  ],
  async run(context, [service]) {
    checkedTarget(`connect ${service}`, service);
    const signal = interrupted();
    const { stdin, stdout } = context;
    const wanted = useNetwork(context, { needsLink: true, isClient: true });
    const access = await Promise.race([wanted, signal]);
    // Nothing is under way yet.
    if (typeof access === 'number') process.exit(access);
    try {
      const circuit = access.overlay.dial(service, { timeoutMs: nodeValues(context).timeout });
      const carried = carry(circuit, stdin, stdout, stdin.isTTY === true).then(() => ExitCode.OK as number);
      const code = await Promise.race([carried, signal]);
      if (code !== ExitCode.OK) reset(circuit);
      return code;
    } catch (error) {
      throw new Failure(`${service}: ${lineOf(error)}`, exitCodeOf(error));
    } finally {
      stdin.destroy();
      await access.close();
    }
  },
});
