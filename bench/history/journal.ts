// The files of a history, a line of JSON for each event.
//
// Each line is one synchronous write(2) to a file opened for appending, and the program goes on only when the kernel has it: kill -9
// takes nothing that was written, since the page belongs to the kernel by then. So of a killed process the journal holds everything
// that it did, but for the one act that it was about to write down:
//   - A send is written before it begins: no message is under way that the journal does not have.
//   - The begin of a handler is its first act, and the end its last: an answer leaves only after the end is written. A lost begin or
//     end is of a handler whose answer never left, since its process died in the write.
//   - An outcome is written when the promise settles: a lost one is of a sender that died, and of whose sends none needs an outcome.
// A write that is killed halfway leaves a torn last line, which is read as not written, for the same reasons. A torn line elsewhere is
// an error of the harness.

import { closeSync, openSync, readdirSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { History, ProcessEvent, ProcessLog, RunEvent } from './events.js';

const RUN_FILE = 'run.jsonl';
const ENDING = '.log.jsonl';

export class Journal<Event extends ProcessEvent | RunEvent> {
  private readonly file: number;

  constructor(path: string) {
    this.file = openSync(path, 'a');
  }

  write(event: Event): void {
    writeSync(this.file, `${JSON.stringify(event)}\n`);
  }

  close(): void {
    closeSync(this.file);
  }
}

/** Returns the path of the journal of a process, `a.0`. */
export function processFile(folder: string, process: string): string {
  return join(folder, `${process}${ENDING}`);
}

/** Returns the path of the journal of the run itself. */
export function runFile(folder: string): string {
  return join(folder, RUN_FILE);
}

/** Reads the events of a process that may have been killed in the middle of a line; none if it never began to write. */
export function readEvents<Event>(path: string): Event[] {
  const lines = readFileSync(path, 'utf8').split('\n');
  const torn = lines.pop() ?? '';
  if (torn !== '' && isWhole(torn)) lines.push(torn);
  return lines.map((line, at) => {
    try {
      return JSON.parse(line) as Event;
    } catch {
      throw new Error(`${path}:${at + 1} is not a line of a history: ${line.slice(0, 80)}`);
    }
  });
}

/** Reads everything that the processes of a run have written. */
export function readHistory(folder: string): History {
  const logs: ProcessLog[] = readdirSync(folder)
    .filter((name) => name.endsWith(ENDING))
    .sort()
    .map((name) => ({ process: name.slice(0, -ENDING.length), events: readEvents<ProcessEvent>(join(folder, name)) }));
  return { logs, run: readEvents<RunEvent>(runFile(folder)) };
}

function isWhole(line: string): boolean {
  try {
    JSON.parse(line);
    return true;
  } catch {
    return false;
  }
}
