#!/usr/bin/env node
// The command `starlane`.

process.stdout.write('starlane\n');
