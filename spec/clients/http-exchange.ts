// Requests with node:http over dialled sockets.

import { createHash, randomBytes } from 'node:crypto';
import { Agent, type ClientRequest, type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';
import type { RequestOptions } from 'node:https';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Node, Socket } from '../../lib/index.js';
import { within } from '../support/deadline.js';

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

/** An agent that dials `service` for each socket of its pool. */
export class DialAgent extends Agent {
  readonly dialled: Socket[] = [];

  constructor(
    private readonly node: Node,
    private readonly service: string,
    maxSockets = Number.POSITIVE_INFINITY,
  ) {
    super({ keepAlive: true, maxSockets });
  }

  override createConnection(): Socket {
    const socket = this.node.dial(this.service);
    this.dialled.push(socket);
    return socket;
  }
}

/** The whole answer to a request whose body is `body`. */
export async function exchange(options: RequestOptions, body?: Buffer | Readable): Promise<Answer> {
  const outgoing = request(options);
  const answer = answerTo(outgoing);
  if (body instanceof Readable) await Promise.race([pipeline(body, outgoing), answer]);
  else outgoing.end(body);
  return within(`the answer to ${options.path}`, answer);
}

export async function answerTo(outgoing: ClientRequest): Promise<Answer> {
  const incoming = await headOf(outgoing);
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  return { status: incoming.statusCode ?? 0, headers: incoming.headers, body: Buffer.concat(chunks) };
}

/** The beginning of the answer. */
export function headOf(outgoing: ClientRequest): Promise<IncomingMessage> {
  const head = new Promise<IncomingMessage>((resolve, reject) => {
    outgoing.once('response', resolve);
    outgoing.on('error', reject);
  });
  return within('the head of an answer', head);
}

/** As many random bytes in pieces, with the number and the digest of those read so far. */
export function randomSource(bytes: number): { source: Readable; taken(): number; digest(): string } {
  const hash = createHash('sha256');
  const piece = randomBytes(65_536);
  let taken = 0;
  const pieces = function* (): Generator<Buffer> {
    for (let left = bytes; left > 0; left -= piece.length) {
      const part = piece.subarray(0, Math.min(left, piece.length));
      part.writeUInt32LE(left); // So that no two are alike.
      hash.update(part);
      taken += part.length;
      yield Buffer.from(part);
    }
  };
  const source = Readable.from(pieces(), { objectMode: false });
  return { source, taken: () => taken, digest: () => hash.digest('hex') };
}

/** Reads to the end. */
export async function digestOf(source: Readable): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of source) hash.update(chunk as Buffer);
  return hash.digest('hex');
}
