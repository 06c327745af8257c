// The command line of the history checker.

import { parseArgs } from 'node:util';
import { BREAKS } from './breaks.js';
import type { Sizes } from './run/shape.js';
import { SHORT, type TrialOptions } from './trial.js';

export interface HistoryOptions extends Omit<TrialOptions, 'folder' | 'onProgress'> {
  readonly help: boolean;
  readonly keep: boolean;
  readonly check: string | undefined;
  /** Names of broken copies; empty: all. Undefined: the library as it is. */
  readonly broken: readonly string[] | undefined;
}

const LONG = {
  sizes: { senders: 7, receivers: 8, relays: 5 },
  faults: 1_000,
  faultEveryMs: 550,
  messages: 500_000,
  rate: 130,
  resumeMs: 5_000,
  minutes: 12,
};

export function usage(): string {
  return `usage: npm run history -- [options]

Starts ${processes(LONG.sizes)} processes that send messages to each other, cuts and silences links, kills and stops processes, and checks what
they have written down against the promise of docs/messages.md. Exits with 1 when it is broken, and keeps the history.

  --short          ${processes(SHORT.sizes)} processes, ${SHORT.faults} faults, ${SHORT.messages} messages
  --broken [a,b]   runs of broken copies of the library, short ones: each has to be caught.
                   ${BREAKS.map(({ name }) => name).join(', ')}
  --seed N         of processes, links, traffic and faults; default: by the clock
  --faults N       default ${LONG.faults}
  --every MS       between two faults, in the mean; default ${LONG.faultEveryMs}
  --messages N     at least; default ${LONG.messages}
  --rate N         messages a second of one sender; default ${LONG.rate}
  --minutes N      stops after so many, with what there is; default ${LONG.minutes}. The end and the check take one or two more
  --resume MS      how long a sender looks for a receiver again; default ${LONG.resumeMs}
  --keep           keeps the history also when the promise holds
  --check FOLDER   checks a history again`;
}

export function readOptions(args: string[]): HistoryOptions {
  const { values } = parseArgs({
    args: args.flatMap((arg, at) =>
      arg === '--broken' && (args[at + 1] ?? '-').startsWith('-') ? ['--broken', ''] : [arg],
    ),
    options: {
      help: { type: 'boolean', short: 'h' },
      short: { type: 'boolean' },
      keep: { type: 'boolean' },
      broken: { type: 'string' },
      seed: { type: 'string' },
      faults: { type: 'string' },
      every: { type: 'string' },
      messages: { type: 'string' },
      rate: { type: 'string' },
      resume: { type: 'string' },
      minutes: { type: 'string' },
      check: { type: 'string' },
    },
  });
  const broken = values.broken?.split(',').filter((name) => name !== '');
  for (const name of broken ?? []) {
    if (!BREAKS.some((known) => known.name === name)) throw new Error(`there is no broken copy '${name}'`);
  }
  const size = values.short || broken !== undefined ? SHORT : LONG;
  return {
    help: values.help ?? false,
    keep: values.keep ?? false,
    check: values.check,
    broken,
    sizes: size.sizes,
    seed: readNumber('seed', values.seed) ?? Date.now() % 1_000_000,
    faults: readNumber('faults', values.faults) ?? size.faults,
    faultEveryMs: readNumber('every', values.every) ?? size.faultEveryMs,
    messages: readNumber('messages', values.messages) ?? size.messages,
    rate: readNumber('rate', values.rate) ?? size.rate,
    minutes: readNumber('minutes', values.minutes) ?? size.minutes,
    resumeMs: readNumber('resume', values.resume) ?? size.resumeMs,
  };
}

function processes({ senders, receivers, relays }: Sizes): number {
  return senders + receivers + relays;
}

function readNumber(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text.replaceAll(/[_,]/g, ''));
  if (!(Number.isInteger(value) && value >= 0)) throw new Error(`--${name} needs a whole number from 0`);
  return value;
}
