// Notices an input that never ends. A loop that blocks the event loop can be seen only from another thread,
// which gets every input before it is tried.

import { Worker } from 'node:worker_threads';
import type { Parts } from './target.js';

/** Longer than any input takes on a busy machine. */
const LIMIT_S = 30;
const ROOM_BYTES = 1024 * 1024;
const LENGTH_BYTES = 4;
/** In place of a length: the next input begins. */
const NEXT_INPUT = 0xffff_ffff;

/** Runs in a separate thread, and uses nothing of this one but the shared memory. */
const WATCH = `
const { workerData: { counters, memory, limitS, nextInput } } = require('node:worker_threads');
const { writeSync } = require('node:fs');
let last = 0, idle = 0;
setInterval(() => {
  const count = Atomics.load(counters, 0);
  idle = count === last ? idle + 1 : 0;
  last = count;
  if (count === 0 || idle < limitS) return;
  const bytes = Buffer.from(memory.slice(0, Atomics.load(counters, 1)));
  let text = 'no end after ' + limitS + ' s, one of:\\n';
  for (let at = 0; at < bytes.length; ) {
    const length = bytes.readUInt32BE(at);
    at += 4;
    if (length === nextInput) text += '\\n';
    else text += (bytes.toString('hex', at, at += length) || '-') + '\\n';
  }
  writeSync(2, text);
  process.kill(process.pid, 'SIGKILL');
}, 1000);
`;

export class Watchdog {
  /** How often inputs were passed, and how many bytes the last ones take. */
  private readonly counters = new Int32Array(new SharedArrayBuffer(8));
  private readonly memory = Buffer.from(new SharedArrayBuffer(ROOM_BYTES));
  private readonly worker = new Worker(WATCH, {
    eval: true,
    workerData: { counters: this.counters, memory: this.memory, limitS: LIMIT_S, nextInput: NEXT_INPUT },
  });

  constructor() {
    this.worker.unref();
  }

  /** These inputs are tried next. */
  onInputs(inputs: readonly Parts[]): void {
    const { memory } = this;
    let at = 0;
    for (const parts of inputs) {
      if (at + LENGTH_BYTES > ROOM_BYTES) break;
      at = memory.writeUInt32BE(NEXT_INPUT, at);
      for (const part of parts) {
        if (at + LENGTH_BYTES + part.length > ROOM_BYTES) break;
        at = memory.writeUInt32BE(part.length, at);
        at += part.copy(memory, at);
      }
    }
    Atomics.store(this.counters, 1, at);
    Atomics.add(this.counters, 0, 1);
  }

  async stop(): Promise<void> {
    await this.worker.terminate();
  }
}
