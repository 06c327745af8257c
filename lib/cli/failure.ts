// Failures of the command in one line, and its exit codes.

import { codeOf } from '../errors.js';

/** Exit codes. docs/command.md lists them, and a spec compares. */
export const ExitCode = {
  OK: 0,
  /** What was asked for failed. */
  FAILURE: 1,
  /** Unknown flags, missing arguments, values that do not fit, a faulty configuration file. */
  USAGE: 2,
  /** The network or the running node cannot be reached in time. */
  UNREACHABLE: 3,
  /** A token, a certificate, a clock, a secret or a rule says no. */
  REFUSED: 4,
  /** There is no such service, node, member or network. */
  NOT_FOUND: 5,
  /** The port, the path or the name is taken. */
  BUSY: 6,
  /** Whether what was asked for has happened is not known: the other end was lost in between. */
  UNKNOWN: 7,
} as const;

/** An error that is shown as one line, without a stack trace. */
export class Failure extends Error {
  constructor(
    message: string,
    readonly exitCode: number = ExitCode.FAILURE,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** Returns an error with a code of Node, for what a host refuses or a way fails with. */
export function codedError(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}

/** Returns the failure for a command line, an environment or a file that does not fit. */
export function usage(message: string): Failure {
  return new Failure(message, ExitCode.USAGE);
}

const CODES: ReadonlyMap<string, number> = new Map(
  Object.entries({
    ERR_STARLANE_OPTION: ExitCode.USAGE,
    ERR_STARLANE_ADDRESS: ExitCode.USAGE,
    ERR_STARLANE_ARGUMENT: ExitCode.USAGE,
    ERR_STARLANE_INSECURE: ExitCode.USAGE,
    ERR_STARLANE_CLIENT_BIND: ExitCode.USAGE,
    ETIMEDOUT: ExitCode.UNREACHABLE,
    EHOSTUNREACH: ExitCode.UNREACHABLE,
    ENETUNREACH: ExitCode.UNREACHABLE,
    ECONNREFUSED: ExitCode.UNREACHABLE,
    ECONNRESET: ExitCode.UNREACHABLE,
    EAI_AGAIN: ExitCode.UNREACHABLE,
    ERR_STARLANE_CLOSED: ExitCode.UNREACHABLE,
    ERR_STARLANE_VERSION: ExitCode.UNREACHABLE,
    ERR_STARLANE_TRANSPORT: ExitCode.UNREACHABLE,
    ERR_STARLANE_HANDSHAKE_TIMEOUT: ExitCode.UNREACHABLE,
    ERR_STARLANE_ENROLMENT: ExitCode.UNREACHABLE,
    EACCES: ExitCode.REFUSED,
    EPERM: ExitCode.REFUSED,
    ERR_STARLANE_PROXY: ExitCode.UNREACHABLE,
    ERR_STARLANE_PROXY_AUTH: ExitCode.REFUSED,
    ERR_STARLANE_TLS: ExitCode.REFUSED,
    ERR_STARLANE_SECRET: ExitCode.REFUSED,
    ERR_STARLANE_IDENTITY: ExitCode.REFUSED,
    ERR_STARLANE_CERTIFICATE: ExitCode.REFUSED,
    ERR_STARLANE_CERTIFICATE_EXPIRED: ExitCode.REFUSED,
    ERR_STARLANE_REVOKED: ExitCode.REFUSED,
    ERR_STARLANE_RIGHT: ExitCode.REFUSED,
    ERR_STARLANE_CREDENTIALS: ExitCode.REFUSED,
    ERR_STARLANE_AUTHORITY: ExitCode.REFUSED,
    ERR_STARLANE_TOKEN: ExitCode.REFUSED,
    ERR_STARLANE_MEMBER_NAME: ExitCode.REFUSED,
    ERR_STARLANE_TOKEN_USED: ExitCode.REFUSED,
    ERR_STARLANE_TOKEN_EXPIRED: ExitCode.REFUSED,
    ERR_STARLANE_WRONG_NETWORK: ExitCode.REFUSED,
    ERR_STARLANE_CLOCK: ExitCode.REFUSED,
    ENOTFOUND: ExitCode.NOT_FOUND,
    ERR_STARLANE_NOT_FOUND: ExitCode.NOT_FOUND,
    ENOENT: ExitCode.NOT_FOUND,
    EADDRINUSE: ExitCode.BUSY,
    ERR_STARLANE_DUPLICATE_IDENTITY: ExitCode.BUSY,
    EEXIST: ExitCode.BUSY,
  }),
);

export function exitCodeOf(error: unknown): number {
  if (error instanceof Failure) return error.exitCode;
  return CODES.get(codeOf(error) ?? '') ?? ExitCode.FAILURE;
}

/**
 * Returns one line for a person: the message, and what is known of the cause where the message does not say it already. Faults of the
 * program itself keep their stack trace, as nobody could find them otherwise.
 */
export function lineOf(error: unknown): string {
  if (!(error instanceof Error)) return oneLine(String(error));
  if (!(error instanceof Failure) && codeOf(error) === undefined && isProgramFault(error))
    return error.stack ?? error.message;
  let line = error.message === '' ? (codeOf(error) ?? error.name) : error.message;
  for (let { cause } = error; cause instanceof Error; { cause } = cause) {
    if (cause.message !== '' && !line.includes(cause.message)) line += `: ${cause.message}`;
  }
  return oneLine(line);
}

function isProgramFault(error: Error): boolean {
  return error instanceof TypeError || error instanceof RangeError || error instanceof ReferenceError;
}

function oneLine(text: string): string {
  return text.replace(/\s*\n\s*/g, ' ').trim();
}
