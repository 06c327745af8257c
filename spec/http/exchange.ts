// A request and its answer.

import { once } from 'node:events';
import { type ClientRequest, request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Duplex } from 'node:stream';
import { within } from '../support/deadline.js';
import { readAll } from '../support/socket-pair.js';

export interface Answer {
  readonly request: ClientRequest;
  readonly response: IncomingMessage;
  readonly body: string;
  /** The socket that served both. */
  readonly socket: Duplex;
}

/** A request that has not been ended. The URL says whether it is one of node:http or node:https. */
export function ask(target: string | RequestOptions, options: RequestOptions = {}): ClientRequest {
  if (typeof target !== 'string') {
    return (target.protocol === 'https:' ? httpsRequest : httpRequest)({ ...target, ...options });
  }
  return (target.startsWith('https:') ? httpsRequest : httpRequest)(target, options);
}

/** Ends a request, with `body`, and reads the answer. Resolved when the socket is free for the next one. */
export async function answerTo(request: ClientRequest, body?: string | Buffer): Promise<Answer> {
  const closed = once(request, 'close');
  const arrived = once(request, 'response') as Promise<[IncomingMessage]>;
  request.end(body);
  const [response] = await within('the response', arrived);
  const socket = response.socket as Duplex;
  const text = `${await within('the body', readAll(response))}`;
  await within('the end of the request', closed);
  return { request, response, body: text, socket };
}

/** Asks, and reads the answer. */
export function exchange(
  target: string | RequestOptions,
  options: RequestOptions = {},
  body?: string,
): Promise<Answer> {
  return answerTo(ask(target, options), body);
}

/** The error that a request ends with. */
export async function failureOf(request: ClientRequest): Promise<NodeJS.ErrnoException> {
  const error = new Promise<NodeJS.ErrnoException>((resolve, reject) => {
    request.once('error', resolve);
    request.once('response', () => reject(new Error('there is an answer')));
  });
  return within('an error', error);
}

/** Reads from a raw socket until `text` has come, and returns everything up to there. */
export async function readUntil(socket: Duplex, text: string, deadlineMs?: number): Promise<string> {
  let seen = '';
  const found = new Promise<string>((resolve, reject) => {
    const onData = (chunk: Buffer): void => {
      seen += chunk.toString('latin1');
      if (!seen.includes(text)) return;
      socket.removeListener('data', onData);
      socket.removeListener('close', onClose);
      resolve(seen);
    };
    const onClose = (): void => reject(new Error(`closed after ${JSON.stringify(seen)}`));
    socket.on('data', onData);
    socket.once('close', onClose);
  });
  return within(JSON.stringify(text), found, deadlineMs);
}
