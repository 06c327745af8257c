// Kills this process, as `kill -9` does, at a step of its choice. Steps are operations on files and writes to sockets: what a process does that
// others can see. Import it before the library, whose own imports it replaces.

import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import net from 'node:net';

const OPERATIONS = ['openSync', 'writeFileSync', 'fsyncSync', 'linkSync', 'renameSync', 'unlinkSync', 'mkdirSync'];
const PROMISES = ['link', 'unlink', 'open', 'readFile', 'readdir', 'mkdir'];

/** At which step it dies; Infinity: at none. */
let dieAt = Number.POSITIVE_INFINITY;
let steps = 0;

/** Counts from now on. `step`: how many steps are survived. */
export function crashAfter(step) {
  steps = 0;
  dieAt = step;
}

/** Before a step that is even, and after one that is odd. */
function around(run) {
  const isLast = steps++ === dieAt;
  if (isLast && dieAt % 2 === 0) die();
  const result = run();
  if (isLast) {
    if (typeof result?.then === 'function') return result.then(die);
    die();
  }
  return result;
}

function die() {
  process.kill(process.pid, 'SIGKILL');
  // The signal comes at once, but not to a thread that goes on.
  for (;;);
}

for (const [module, names] of [
  [fs, OPERATIONS],
  [fs.promises, PROMISES],
]) {
  for (const name of names) {
    const original = module[name];
    module[name] = function (...args) {
      return around(() => original.apply(this, args));
    };
  }
}
const { write } = net.Socket.prototype;
net.Socket.prototype.write = function (...args) {
  return around(() => write.apply(this, args));
};
syncBuiltinESMExports();
