// The raw side of CONNECT at the control socket: a request, and what the answer turns the connection into.

import { connect, type Socket } from 'node:net';
import { codeOf } from '../../errors.js';
import { ExitCode, Failure } from '../failure.js';
import { receivedError } from './wire.js';

/** What an answer may have in front of its body, and an error in it. */
const MAX_ANSWER_BYTES = 64 * 1024;
const HEAD_END = '\r\n\r\n';

/** Sends the request. What is written to the socket behind it is early data. */
export function requestConnect(socketPath: string, target: string): Socket {
  const socket = connect({ path: socketPath, allowHalfOpen: true });
  socket.write(`CONNECT ${target} HTTP/1.1\r\nHost: control\r\n\r\n`);
  return socket;
}

/** Reads the answer to a CONNECT from chunks. */
export class ConnectAnswer {
  private bytes: Buffer = Buffer.alloc(0);
  private bodyAt = -1;
  private isAccepted = false;

  /** Whether nothing has come yet. */
  get isEmpty(): boolean {
    return this.bytes.length === 0;
  }

  /** Returns what follows an answer of 200, which may be empty; undefined while it is not complete, or an error. */
  push(chunk: Buffer): Buffer | Error | undefined {
    this.bytes = this.bytes.length === 0 ? chunk : Buffer.concat([this.bytes, chunk]);
    if (this.bodyAt < 0) {
      const end = this.bytes.indexOf(HEAD_END);
      if (end >= 0) {
        this.bodyAt = end + HEAD_END.length;
        this.isAccepted = /^HTTP\/1\.1 200 /.test(this.bytes.toString('latin1', 0, end));
      }
    }
    if (this.isAccepted) return this.bytes.subarray(this.bodyAt);
    if (this.bytes.length > MAX_ANSWER_BYTES) return new Failure('the answer of the running node is too long');
    return undefined;
  }

  /** Returns why it was refused, when the other end has closed. */
  refusal(): Error {
    if (this.bodyAt < 0) return nodeHasEnded();
    try {
      return receivedError(JSON.parse(this.bytes.toString('utf8', this.bodyAt)));
    } catch {
      return new Failure('the answer of the running node cannot be read');
    }
  }
}

/** Returns the failure of a command whose node has gone. */
export function nodeHasEnded(): Failure {
  return new Failure('the node that this command used has ended', ExitCode.UNREACHABLE);
}

/** Returns the failure of a command whose node is busy, or was stopped (SIGSTOP). */
export function noAnswer(timeoutMs: number): Failure {
  return new Failure(`the running node does not answer within ${timeoutMs / 1_000} s`, ExitCode.UNREACHABLE);
}

/** Whether an error says that nobody listens at the control socket. */
export function isNobodyThere(error: unknown): boolean {
  const code = codeOf(error);
  return code === 'ENOENT' || code === 'ECONNREFUSED' || code === 'ENOTDIR';
}
