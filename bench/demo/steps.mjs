import { createHash } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import { deferred } from '../deadline.mjs';
import { CHUNK_BYTES, MESSAGE_BYTES, makeMessage, patternAt } from '../payload.mjs';
import { download, upload } from './transfer.mjs';

/** @typedef {import('../../dist/index.js').Node} Node */

const MIB = 1024 * 1024;
const HTTP_AT_A_TIME = 32;
const STREAMS_AT_A_TIME = 256;
const TRANSFERS_AT_A_TIME = 8;

/**
 * Runs `work(0)` to `work(count - 1)`, a number of them at a time.
 *
 * @param {number} count
 * @param {number} atATime
 * @param {(index: number) => Promise<void>} work
 */
async function forEach(count, atATime, work) {
  let next = 0;
  const lane = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: Math.min(atATime, count) }, lane));
}

/**
 * @param {http.RequestOptions} options
 * @param {(request: http.ClientRequest) => void | Promise<void>} [writeBody]
 * @returns {Promise<string>} the body of the response
 */
async function request(options, writeBody) {
  const outgoing = http.request({ host: 'web', ...options });
  const answered = once(outgoing, 'response');
  await writeBody?.(outgoing);
  outgoing.end();
  const [response] = await answered;
  let body = '';
  for await (const chunk of response.setEncoding('utf8')) body += chunk;
  if (response.statusCode !== 200) throw new Error(`status ${response.statusCode}`);
  return body;
}

/**
 * @param {http.RequestOptions} options
 * @param {string} path
 */
async function get(options, path) {
  const body = await request({ ...options, path });
  if (body !== `you asked for ${path}`) throw new Error(`GET ${path} was answered with '${body}'`);
}

/**
 * GET requests, each over a stream of its own.
 *
 * @param {Node} node
 * @param {number} requests
 */
export async function getEachOverOwnStream(node, requests) {
  const createConnection = () => node.dial('web');
  await forEach(requests, HTTP_AT_A_TIME, (i) => get({ createConnection }, `/page/${i}`));
}

/**
 * GET requests over streams that an http.Agent keeps.
 *
 * @param {Node} node
 * @param {number} requests
 */
export async function getOverKeptStreams(node, requests) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: HTTP_AT_A_TIME });
  /** @type {any} */ (agent).createConnection = () => node.dial('web');
  try {
    await forEach(requests, HTTP_AT_A_TIME, (i) => get({ agent }, `/kept/${i}`));
  } finally {
    agent.destroy();
  }
}

/**
 * One POST whose body the HTTP server answers with its SHA-256.
 *
 * @param {Node} node
 * @param {number} bytes
 */
export async function postChecked(node, bytes) {
  const hash = createHash('sha256');
  const theirs = await request({ method: 'POST', createConnection: () => node.dial('web') }, async (outgoing) => {
    for (let sent = 0; sent < bytes; sent += CHUNK_BYTES) {
      const chunk = patternAt(sent, Math.min(CHUNK_BYTES, bytes - sent));
      hash.update(chunk);
      if (!outgoing.write(chunk)) await once(outgoing, 'drain');
    }
  });
  const ours = hash.digest('hex');
  if (theirs !== ours) throw new Error(`POST of ${bytes} bytes: SHA-256 here ${ours}, there '${theirs}'`);
}

/**
 * Sends a message of its own over each stream; resolves once that has come back and the stream is closed.
 *
 * @param {Node} node
 * @param {number} index
 * @returns {Promise<void>}
 */
function echoOnce(node, index) {
  const { promise, resolve, reject } = deferred();
  const socket = node.dial('echo');
  checkEcho(socket, index, resolve, reject);
  return promise;
}

/**
 * @param {import('node:stream').Duplex} socket
 * @param {number} index
 * @param {() => void} resolve
 * @param {(error: Error) => void} reject
 */
function checkEcho(socket, index, resolve, reject) {
  const message = makeMessage(index);
  let received = 0;
  socket.on('data', (chunk) => {
    if (!chunk.equals(message.subarray(received, received + chunk.length))) {
      reject(new Error(`stream ${index}: wrong echo`));
    }
    received += chunk.length;
    if (received === MESSAGE_BYTES) socket.end();
  });
  socket.on('error', reject);
  socket.on('close', () => {
    if (received === MESSAGE_BYTES) resolve();
    else reject(new Error(`stream ${index}: closed after ${received} of ${MESSAGE_BYTES} bytes`));
  });
  socket.write(message);
}

/**
 * Streams opened by name, each checked and closed.
 *
 * @param {Node} node
 * @param {number} streams
 */
export async function echoOverManyStreams(node, streams) {
  await forEach(streams, STREAMS_AT_A_TIME, (i) => echoOnce(node, i));
}

/**
 * Streams that are all connected before the first carries a message, each checked and closed.
 *
 * @param {Node} node
 * @param {number} streams
 */
export async function echoOverOpenStreams(node, streams) {
  const sockets = Array.from({ length: streams }, () => node.dial('echo'));
  await Promise.all(
    sockets.map((socket) => {
      const { promise, resolve, reject } = deferred();
      socket.on('connect', resolve);
      socket.on('error', reject);
      return promise;
    }),
  );
  const open = Math.min(...node.links().map((link) => link.streams));
  if (open < streams) throw new Error(`the link carries ${open} streams instead of ${streams}`);
  await Promise.all(
    sockets.map((socket, i) => {
      const { promise, resolve, reject } = deferred();
      checkEcho(socket, i, resolve, reject);
      return promise;
    }),
  );
}

/**
 * @param {Node} node
 * @param {number} mib
 */
export async function uploadOverOne(node, mib) {
  await upload(node.dial('upload', { allowHalfOpen: true }), 0, mib * MIB);
}

/**
 * @param {Node} node
 * @param {number} mib altogether
 */
export async function downloadOverSeveral(node, mib) {
  const each = Math.ceil((mib * MIB) / TRANSFERS_AT_A_TIME);
  await forEach(TRANSFERS_AT_A_TIME, TRANSFERS_AT_A_TIME, (i) =>
    download(node.dial('download', { allowHalfOpen: true }), i * each, each),
  );
}
