import { deferred } from '../deadline.mjs';
import { CHUNK_BYTES, checkPattern, patternAt } from '../payload.mjs';
import { Arrivals } from './arrivals.mjs';

/** @typedef {import('node:stream').Duplex} Duplex */

/** The sending end of the bulk streams: writes the pattern, heeding write() and 'drain', until it is ended. */
export class Sender {
  /** @param {(error: Error) => void} fail */
  constructor(fail) {
    this.fail = fail;
    this.isEnding = false;
    this.written = 0;
    /** @type {(() => void)[]} */
    this.pumps = [];
  }

  /** @param {Duplex} socket */
  add(socket) {
    let offset = 0;
    const pump = () => {
      let more = true;
      while (more && !this.isEnding) {
        more = socket.write(patternAt(offset, CHUNK_BYTES));
        offset += CHUNK_BYTES;
        this.written += CHUNK_BYTES;
      }
      if (this.isEnding && !socket.writableEnded) socket.end();
    };
    this.pumps.push(pump);
    socket.on('drain', pump);
    socket.on('error', this.fail);
    socket.resume();
    pump();
  }

  /** @returns {number} the bytes that were written */
  end() {
    this.isEnding = true;
    for (const pump of this.pumps) pump();
    return this.written;
  }
}

/** The receiving end: compares every byte and keeps when they arrived. */
export class Receiver {
  /**
   * @param {number} streams
   * @param {(error: Error) => void} fail
   */
  constructor(streams, fail) {
    this.fail = fail;
    this.arrivals = new Arrivals();
    this.open = streams;
    this.ended = deferred();
  }

  /** @param {Duplex} socket */
  add(socket) {
    let offset = 0;
    socket.on('data', (chunk) => {
      checkPattern(chunk, offset);
      offset += chunk.length;
      this.arrivals.add(chunk.length);
    });
    socket.on('end', () => {
      this.open -= 1;
      if (this.open === 0) this.ended.resolve();
      socket.end();
    });
    socket.on('error', this.fail);
  }
}
