// Work that a command gives to the process with the node: POST /control/task { command, key, values }. The answer is a stream of lines; its
// first one is the status of the task, and the task lasts until one end closes the stream.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { createInterface } from 'node:readline';
import { lineOf } from '../failure.js';
import type { NodeWork } from '../run/task.js';
import type { ControlClient } from './client.js';
import { receivedError, sentError } from './wire.js';

/** A task that the process with the node has started. */
export interface Hosted {
  status(): Readonly<Record<string, unknown>>;
  stop(): Promise<void>;
}

/** Starts tasks for other commands. @throws Failure, or an error with a code */
export type StartHosted = (work: NodeWork, onFailed: (error: Error) => void) => Promise<Hosted>;

/** Answers a request for work. */
export async function answerTask(start: StartHosted, work: NodeWork, response: ServerResponse): Promise<void> {
  const end = (error?: Error) => {
    if (error !== undefined) response.write(`${JSON.stringify({ error: sentError(error) })}\n`);
    response.end();
  };
  const hosted = await start(work, end);
  const stop = () => void hosted.stop().catch((error) => response.destroy(new Error(lineOf(error))));
  if (response.destroyed) return stop();
  response.once('close', stop);
  response.writeHead(200, { 'content-type': 'application/x-ndjson' });
  response.write(`${JSON.stringify({ status: hosted.status() })}\n`);
}

/** Work that the process with the node does for this one. */
export class HostedRequest {
  private isClosed = false;

  private constructor(
    private readonly response: IncomingMessage,
    readonly status: Readonly<Record<string, unknown>>,
  ) {}

  /** @throws what the task fails with */
  static async open(client: ControlClient, work: NodeWork, onLost: (error?: Error) => void): Promise<HostedRequest> {
    const response = await client.open({ method: 'POST', path: '/control/task' }, work);
    if (response.statusCode !== 200) throw receivedError(await bodyOf(response));
    return new Promise((resolve, reject) => {
      let request: HostedRequest | undefined;
      const lines = createInterface({ input: response });
      lines.on('line', (text) => {
        const line = JSON.parse(text) as { status?: Record<string, unknown>; error?: unknown };
        if (line.error !== undefined) onLost(receivedError(line.error));
        if (line.status === undefined || request !== undefined) return;
        request = new HostedRequest(response, line.status);
        resolve(request);
      });
      // The interface passes on errors of its input; 'close' follows.
      lines.on('error', () => {});
      response.on('error', () => {});
      response.once('close', () => {
        if (request?.isClosed) return;
        if (request === undefined) reject(new Error('the process with the node gave no answer'));
        else onLost();
      });
    });
  }

  close(): void {
    this.isClosed = true;
    this.response.destroy();
  }
}

async function bodyOf(response: IncomingMessage): Promise<unknown> {
  let text = '';
  for await (const chunk of response) text += chunk;
  return JSON.parse(text);
}
