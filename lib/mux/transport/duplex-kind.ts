// What a session has to know of the Duplex under it.

import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/** Whether a chunk is copied by the time its write is confirmed: a stream in memory hands it on instead. */
export function copiesWrites(duplex: Duplex): boolean {
  return duplex instanceof Socket;
}

/** Whether what is written is encrypted on its way (Node docs, tls: only a TLSSocket has `encrypted`). */
export function isEncrypted(duplex: Duplex): boolean {
  return 'encrypted' in duplex;
}
