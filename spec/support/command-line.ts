// Runs the command in this process: its command line, its environment, and what it prints.

import { Writable } from 'node:stream';
import { exitCodeOf, lineOf } from '../../lib/cli/failure.js';
import { runProgram } from '../../lib/cli/program.js';

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

class Text extends Writable {
  text = '';
  readonly isTTY = false;

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: () => void): void {
    this.text += chunk.toString();
    callback();
  }
}

/** Runs `starlane` with these arguments, as main.ts does. */
export async function runLine(
  argv: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<Ran> {
  const [out, err] = [new Text(), new Text()];
  const io = {
    stdin: process.stdin,
    stdout: out as unknown as NodeJS.WriteStream,
    stderr: err as unknown as NodeJS.WriteStream,
    environment: { NO_COLOR: '1', ...environment },
  };
  let code: number;
  try {
    code = await runProgram(argv, io);
  } catch (error) {
    err.write(`starlane: ${lineOf(error)}\n`);
    code = exitCodeOf(error);
  }
  return { code, out: out.text, err: err.text };
}
