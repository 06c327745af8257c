// Flags that every command has.

import { flag } from './flags.js';

export const SHARED_FLAGS = {
  json: flag.boolean('print JSON instead of text and tables'),
  config: flag.text('the configuration file (else ./starlane.yaml, if there is one)', {
    value: 'FILE',
    short: 'c',
    env: 'STARLANE_CONFIG',
    inFile: false,
  }),
  log: flag.text('the form of log lines', { value: 'FORMAT', choices: ['text', 'json'], otherwise: 'text' }),
  logLevel: flag.text('how much to log', {
    value: 'LEVEL',
    choices: ['debug', 'info', 'warn', 'error'],
    otherwise: 'info',
  }),
} as const;
