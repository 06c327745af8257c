#!/usr/bin/env node
// The command `starlane`: runs the command line of the process, and turns errors into one line and an exit code.

import { exitCodeOf, lineOf } from './failure.js';
import { runProgram } from './program.js';

const environment = { ...process.env };
// These are flags here, with what the file and the command line say on top: nodes must not read them a second time.
for (const name of ['STARLANE_JOIN', 'STARLANE_LISTEN', 'STARLANE_CREDENTIALS', 'STARLANE_IDENTITY'])
  delete process.env[name];

// The reader of a pipe may end before we do, as `head` does.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    throw error;
  });
}

try {
  const { stdin, stdout, stderr } = process;
  process.exitCode = await runProgram(process.argv.slice(2), { stdin, stdout, stderr, environment });
} catch (error) {
  process.stderr.write(`starlane: ${lineOf(error)}\n`);
  process.exitCode = exitCodeOf(error);
}
