// JSON objects, one a line, over a socket.

import type { Socket } from 'node:net';
import { StringDecoder } from 'node:string_decoder';

const MAX_LINE_BYTES = 64 * 1024;

/** Calls `onLine` with each object. A line that is too long or no object destroys the socket. */
export function readLines(socket: Socket, onLine: (line: Readonly<Record<string, unknown>>) => void): void {
  let rest = '';
  // Not by setEncoding, which sockets of an http server refuse.
  const decoder = new StringDecoder();
  socket.on('data', (chunk: Buffer) => {
    const lines = (rest + decoder.write(chunk)).split('\n');
    rest = lines.pop() as string;
    if (rest.length > MAX_LINE_BYTES) socket.destroy();
    for (const line of lines) {
      if (socket.destroyed) return;
      let value: unknown;
      try {
        value = JSON.parse(line);
      } catch {
        value = undefined;
      }
      if (typeof value === 'object' && value !== null) onLine(value as Readonly<Record<string, unknown>>);
      else socket.destroy();
    }
  });
}

export function writeLine(socket: Socket, value: object): void {
  if (!socket.destroyed) socket.write(`${JSON.stringify(value)}\n`);
}
