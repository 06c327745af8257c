// What the control socket speaks: HTTP over a unix socket that only its user may open. Both ends are of one installation.
//
//   GET  /control/status                 what the process does
//   POST /control/invite, revoke         as the methods of Node; the body is JSON
//   GET  /control/members, services
//   POST /control/reload                 as SIGHUP
//   GET  /v1/...                         what the node answers to queries, see node/queries/answers.ts
//   POST /control/task                   work for the process with the node, see hosting.ts
//   GET  /control/bench                  a stream of lines, see measure.ts
//   GET  /control/query, ping, trace     what it asks other nodes: ?target=&timeout=MS, with &path= or &samples=
//   POST /control/bind                   the answer is a stream of lines, one for each circuit, until one end closes it
//   POST /control/refuse                 refuses a circuit that a bind has announced: { id, reason }
//   GET  /control/offers?service=NAME    whether a node offers it
//   CONNECT session                      becomes lines { reset: ID } in both directions; the first is { session, id, offers, ends }: the id of the
//                                        node, and whether others find what is bound
//   CONNECT dial?to=ADDRESS              becomes the circuit; session=NAME&circuit=ID say whose it is
//   CONNECT take?id=ID                   accepts a circuit that a bind has announced, and becomes it
//
// An error is a status of 400 or more and a JSON object { code, message, causes }.

import { codeOf } from '../../errors.js';
import type { AllowRequest } from '../../options/allow.js';
import { exitCodeOf, Failure } from '../failure.js';

/** An error as it is sent. */
export interface SentError {
  readonly code?: string;
  /** For errors without a code. */
  readonly exitCode?: number;
  readonly message: string;
  /** Messages of the causes, the nearest first. */
  readonly causes: readonly string[];
}

export function sentError(error: unknown): SentError {
  const causes: string[] = [];
  if (error instanceof Error) {
    for (let { cause } = error; cause instanceof Error && causes.length < 8; { cause } = cause)
      causes.push(cause.message);
  }
  const code = codeOf(error);
  return {
    ...(code === undefined ? { exitCode: exitCodeOf(error) } : { code }),
    message: error instanceof Error ? error.message : String(error),
    causes,
  };
}

/** Returns the error again, with its code and its causes. */
export function receivedError(sent: unknown): Error {
  const { code, exitCode, message, causes } = (
    typeof sent === 'object' && sent !== null ? sent : {}
  ) as Partial<SentError>;
  let cause: Error | undefined;
  for (const text of [...(Array.isArray(causes) ? causes : [])].reverse()) {
    cause = new Error(String(text), cause === undefined ? undefined : { cause });
  }
  const text = message ?? 'the running node gave no reason';
  const options = cause === undefined ? undefined : { cause };
  const error = code === undefined ? new Failure(text, exitCode, options) : new Error(text, options);
  return code === undefined ? error : Object.assign(error, { code });
}

/** A line of a bind: the first says that it is bound, each other that a circuit waits, or has gone while it waited. */
export type BindLine =
  | { readonly bound: true }
  | { readonly id: string; readonly request: AllowRequest }
  | { readonly gone: string };

/** The longest JSON body that either end reads. */
export const MAX_BODY_BYTES = 16 * 1024 * 1024;
