// Values as lines of JSON over a stream of bytes: for answers that have several parts.

import { Readable } from 'node:stream';

/** Returns a stream of bytes with a line for each value. It reads on when the other end has taken what there was. */
export function linesOf(values) {
  async function* lines() {
    for await (const value of values) yield Buffer.from(`${JSON.stringify(value)}\n`);
  }
  return Readable.from(lines(), { objectMode: false });
}

/** Reads what {@link linesOf} has written. */
export async function* valuesOf(stream) {
  stream.setEncoding('utf8');
  let rest = '';
  for await (const chunk of stream) {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop();
    for (const line of lines) yield JSON.parse(line);
  }
}
