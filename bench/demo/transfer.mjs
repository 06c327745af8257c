import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { CHUNK_BYTES, patternAt } from '../payload.mjs';

/**
 * Writes a part of the pattern, heeding back-pressure, without ending the stream.
 *
 * @param {import('node:stream').Duplex} socket
 * @param {number} offset
 * @param {number} bytes
 * @returns {Promise<Buffer>} the SHA-256 of what was written
 */
export async function sendPattern(socket, offset, bytes) {
  const hash = createHash('sha256');
  for (let sent = 0; sent < bytes; ) {
    const chunk = patternAt(offset + sent, Math.min(CHUNK_BYTES, bytes - sent));
    hash.update(chunk);
    sent += chunk.length;
    if (!socket.write(chunk)) await once(socket, 'drain');
  }
  return hash.digest();
}

/**
 * Sends bytes to the upload service and compares its digest.
 *
 * @param {import('node:stream').Duplex} socket
 * @param {number} offset
 * @param {number} bytes
 */
export async function upload(socket, offset, bytes) {
  const ours = await sendPattern(socket, offset, bytes);
  socket.end();
  const parts = [];
  for await (const chunk of socket) parts.push(chunk);
  compareDigests(Buffer.concat(parts), ours, `${bytes} bytes sent`);
}

/**
 * Asks the download service for bytes and compares their digest with the one at the end.
 *
 * @param {import('node:stream').Duplex} socket
 * @param {number} offset
 * @param {number} bytes
 */
export async function download(socket, offset, bytes) {
  const hash = createHash('sha256');
  const trailer = [];
  let received = 0;
  socket.end(`${offset} ${bytes}`);
  for await (const chunk of socket) {
    const data = chunk.subarray(0, Math.max(0, bytes - received));
    hash.update(data);
    if (data.length < chunk.length) trailer.push(chunk.subarray(data.length));
    received += chunk.length;
  }
  compareDigests(Buffer.concat(trailer), hash.digest(), `${bytes} bytes received`);
}

/**
 * @param {Buffer} theirs
 * @param {Buffer} ours
 * @param {string} what
 */
function compareDigests(theirs, ours, what) {
  if (!theirs.equals(ours))
    throw new Error(`${what}: SHA-256 here ${ours.toString('hex')}, there ${theirs.toString('hex')}`);
}
