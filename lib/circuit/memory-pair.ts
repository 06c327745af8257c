// Two Duplexes in memory, one the other end of the other, with the pace of the system: what is written arrives in a later turn of
// the event loop, each chunk in a callback of its own, with all ticks and promises in between. A node that dials
// itself has the same time to attach listeners as over TCP.

import { Duplex } from 'node:stream';
import { withoutContext } from '../util/runtime/no-context.js';
import { setImmediate } from '../util/runtime/real-timers.js';

type Callback = (error?: Error | null) => void;

class MemoryEnd extends Duplex {
  peer: MemoryEnd | null = null;

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: Callback): void {
    later(() => {
      this.peer?.push(chunk);
      callback();
    });
  }

  override _writev(items: Array<{ chunk: Buffer }>, callback: Callback): void {
    const last = items.length - 1;
    items.forEach(({ chunk }, index) => {
      later(() => {
        this.peer?.push(chunk);
        if (index === last) callback();
      });
    });
  }

  override _final(callback: Callback): void {
    later(() => {
      this.peer?.push(null);
      callback();
    });
  }

  override _destroy(error: Error | null, callback: Callback): void {
    later(() => this.peer?.destroy());
    callback(error);
  }
}

function later(run: () => void): void {
  withoutContext(setImmediate, run);
}

export function memoryPair(): [near: Duplex, far: Duplex] {
  const near = new MemoryEnd();
  const far = new MemoryEnd();
  near.peer = far;
  far.peer = near;
  return [near, far];
}
