#!/usr/bin/env node
// The command `starlane`: runs the command line of the process, and turns errors into one line and an exit code.

import { ExitCode, exitCodeOf, lineOf } from './failure.js';
import { clean, printable } from './log.js';
import { runProgram } from './program.js';

const environment = { ...process.env };
// These are flags here, with what the file and the command line say on top: nodes must not read them a second time.
for (const name of ['STARLANE_JOIN', 'STARLANE_LISTEN', 'STARLANE_CREDENTIALS', 'STARLANE_IDENTITY'])
  delete process.env[name];

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // The reader of a pipe may end before we do, as `head` does.
  if (error.code === 'EPIPE') process.exit(ExitCode.OK);
  // A disk may be full, or a terminal gone.
  process.stderr.write(`starlane: standard output: ${lineOf(error)}\n`);
  process.exit(ExitCode.FAILURE);
});
// The reader of the log may go away, or its disk may be full: a node goes on without it.
process.stderr.on('error', () => {});

try {
  const { stdin, stdout, stderr } = process;
  process.exitCode = await runProgram(process.argv.slice(2), { stdin, stdout, stderr, environment });
} catch (error) {
  // What other machines have said may be part of it.
  const lines = clean(lineOf(error)).split('\n').map(printable);
  process.stderr.write(`starlane: ${lines.join('\n')}\n`);
  process.exitCode = exitCodeOf(error);
}
