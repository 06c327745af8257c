// Reading sockets into the same memory over and over. Else every read gets 64 KiB of its own, which a relay is done with at
// once: the collector has to run for every few tens of MiB, and each read misses the caches. One piece of memory does for all
// sockets, since nothing of a chunk is used when the next one is read.
//
// Node offers it as the option `onread` of net.Socket, which a socket that was accepted by a server cannot be given. So it
// is set here as that constructor sets it. Where a version of Node does not have it like that, nothing changes.

import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { isEncrypted } from './duplex-kind.js';

/** Read at once, at most. It stays in the caches, and takes several frames: their answers leave together. */
export const LOAN_BYTES = 256 * 1024;

let memory: Buffer | undefined;

interface Handle {
  useUserBuffer?(buffer: Buffer): void;
}

/**
 * From now on `onBytes` is given what arrives, in place of 'data' events, and the memory of a chunk is used again once it
 * returns. False when the duplex cannot do that, and nothing has changed.
 */
export function lendReads(duplex: Duplex, onBytes: (chunk: Buffer) => void): boolean {
  // What is encrypted is read into memory of its own in any case.
  if (!(duplex instanceof Socket) || isEncrypted(duplex) || duplex.destroyed || duplex.readableLength > 0) return false;
  const handle = Reflect.get(duplex, '_handle') as Handle | null | undefined;
  const [bufferKey, callbackKey] = ['kBuffer', 'kBufferCb'].map((name) =>
    Object.getOwnPropertySymbols(duplex).find(({ description }) => description === name),
  );
  if (bufferKey === undefined || callbackKey === undefined || typeof handle?.useUserBuffer !== 'function') return false;
  if (Reflect.get(duplex, bufferKey) !== null) return false;
  memory ??= Buffer.allocUnsafeSlow(LOAN_BYTES);
  Reflect.set(duplex, bufferKey, memory);
  Reflect.set(duplex, callbackKey, (length: number, bytes: Buffer) => {
    onBytes(bytes.subarray(0, length));
    return true;
  });
  handle.useUserBuffer(memory);
  return true;
}
