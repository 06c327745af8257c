import { deferred } from '../deadline.mjs';
import { CHUNK_BYTES, checkPattern, patternAt } from '../payload.mjs';
import { RateWindow } from '../statistics.mjs';

const MIB = 1024 * 1024;

// How long the sender continues after the receiver's window, whose timers may be late in a busy process.
const MARGIN_MS = 250;

/**
 * Writes chunks until `stopped`, heeding write() and 'drain', then ends; resolves with the bytes written once closed.
 *
 * @param {import('./case.mjs').ClientRun} run
 * @param {import('node:stream').Duplex} socket
 * @param {() => boolean} stopped
 * @returns {Promise<number>}
 */
export function writeUntil(run, socket, stopped) {
  const closed = deferred();
  const chunk = Buffer.alloc(CHUNK_BYTES, 'starlane');
  let written = 0;
  const pump = () => {
    let more = true;
    while (more) {
      if (stopped()) {
        if (!socket.writableEnded) socket.end();
        return;
      }
      more = socket.write(run.settings.verify ? patternAt(written, CHUNK_BYTES) : chunk);
      written += CHUNK_BYTES;
    }
  };
  socket.on('drain', pump);
  socket.on('error', run.fail);
  socket.on('close', () => closed.resolve());
  socket.resume();
  pump();
  return closed.promise.then(() => written);
}

/**
 * The receiving side: counts, and with --verify compares every byte.
 *
 * @param {import('./case.mjs').ServerRun} run
 * @param {import('../statistics.mjs').WindowEvents} [events]
 */
export function sink(run, events) {
  let bytes = 0;
  let ended = 0;
  const window = new RateWindow(run.settings, () => bytes, events);
  return {
    /** @param {import('node:stream').Duplex} socket */
    onConnection(socket) {
      window.start();
      let offset = 0;
      socket.on('data', (chunk) => {
        if (run.settings.verify) {
          checkPattern(chunk, offset);
          offset += chunk.length;
        }
        bytes += chunk.length;
      });
      socket.on('end', () => {
        // If the timer of a busy process is that late, this is the last moment of full flow.
        window.close();
        ended += 1;
        socket.end();
      });
      socket.on('error', run.fail);
    },
    /** @param {import('./case.mjs').Values} client */
    finish(client) {
      if (bytes !== client.written || ended !== client.senders) {
        throw new Error(`received ${bytes} bytes, ${ended} ends; sent ${client.written}, ${client.senders}`);
      }
      return window.perSecond / MIB;
    },
  };
}

/**
 * @param {string} name
 * @param {number} streams
 * @param {number} floor
 * @returns {import('./case.mjs').BenchCase}
 */
function bulk(name, streams, floor) {
  return {
    name,
    about: `64 KiB writes on ${streams} stream${streams > 1 ? 's' : ''}, measured at the receiver`,
    figures: [{ key: 'rate', title: 'MiB/s', digits: 0, floors: [{ against: 'net', atLeast: floor }] }],
    server(run) {
      const receiver = sink(run);
      return {
        services: { sink: receiver.onConnection },
        finish: async (client) => ({ rate: receiver.finish(client) }),
      };
    },
    async client(run) {
      let stopped = false;
      const done = Array.from({ length: streams }, () => writeUntil(run, run.connect('sink'), () => stopped));
      const { warmupMs, measureMs } = run.settings;
      setTimeout(
        () => {
          stopped = true;
        },
        warmupMs + measureMs + MARGIN_MS,
      );
      const written = await Promise.all(done);
      return { values: { written: written.reduce((sum, bytes) => sum + bytes, 0), senders: streams } };
    },
  };
}

export const cases = [bulk('bulk-1', 1, 0.9), bulk('bulk-100', 100, 1.05)];
